"""Large data is decoded once on a machine, and mapped by whoever learns from it."""

import os
from pathlib import Path

import numpy as np
import pytest

from p2pfl.learning import decoded as module
from p2pfl.learning.decoded import decoded
from p2pfl.learning.sources.npz import load_npz
from p2pfl.types import Array


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, where nothing is too small."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "WORTH_BYTES", 0)
    return tmp_path / "cache" / "p2pfl" / "decoded"


class Source:
    """A file, and how often it was decoded."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "data.bin"
        self.file.write_bytes(b"1")
        self.decoded = 0

    def read(self) -> dict[str, Array]:
        def decode() -> dict[str, Array]:
            self.decoded += 1
            return {"x": np.arange(6.0).reshape(2, 3), "y": np.array(int(self.file.read_bytes()))}

        return decoded([self.file], decode)


def is_mapped(array: Array) -> bool:
    base: object = array
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    return isinstance(base, np.memmap)


def test_a_file_is_decoded_once_and_then_mapped(tmp_path: Path) -> None:
    source = Source(tmp_path)
    for _ in range(3):
        arrays = source.read()
        assert np.array_equal(arrays["x"], np.arange(6.0).reshape(2, 3))
        assert is_mapped(arrays["x"])
        assert type(arrays["x"]) is np.ndarray
    assert source.decoded == 1


def test_a_file_that_has_changed_is_decoded_anew_and_the_old_is_forgotten(
    tmp_path: Path, cache: Path
) -> None:
    source = Source(tmp_path)
    before = source.read()
    source.file.write_bytes(b"22")
    assert source.read()["y"] == 22
    assert before["y"] == 1
    assert (source.decoded, len(list(cache.iterdir()))) == (2, 1)


def test_what_a_process_changes_stays_its_own(tmp_path: Path) -> None:
    source = Source(tmp_path)
    source.read()["x"][:] = 7.0
    assert source.read()["x"][0, 0] == 0.0


def test_small_data_is_just_read(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WORTH_BYTES", 1 << 20)
    assert not is_mapped(Source(tmp_path).read()["x"])
    assert not cache.exists()


def test_without_a_cache_every_process_holds_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", os.devnull)
    source = Source(tmp_path)
    assert not is_mapped(source.read()["x"])
    assert source.read()["y"] == 1
    assert source.decoded == 2


def test_a_torn_entry_of_the_cache_is_no_obstacle(tmp_path: Path, cache: Path) -> None:
    source = Source(tmp_path)
    source.read()
    (entry,) = cache.iterdir()
    (entry / "x.npy").write_bytes(b"torn")
    assert source.read()["x"].shape == (2, 3)
    assert source.decoded == 2


def test_samples_of_a_large_npz_are_mapped_as_they_are(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).random((20, 3), np.float32), np.arange(20) % 2
    np.savez(tmp_path / "my.npz", x=x, y=y)
    dataset = load_npz(tmp_path / "my.npz")
    assert is_mapped(dataset.train_x)
    assert is_mapped(dataset.train_y)
    assert np.array_equal(dataset.train_x, x)
