import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from p2pfl.errors import DataError
from p2pfl.learning.sources import images
from p2pfl.learning.sources.folders import cache_folder, data_folders, find_folder
from p2pfl.learning.sources.idx import read_idx
from p2pfl.types import Array


def idx(shape: tuple[int, ...], content: bytes, *, kind: int = 8) -> bytes:
    return bytes((0, 0, kind, len(shape))) + struct.pack(f">{len(shape)}I", *shape) + content


def write_set(folder: Path, *, labels: int = 7, packed: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    parts = {
        "train-images-idx3-ubyte": idx((7, 28, 28), bytes(range(7)) * 784),
        "train-labels-idx1-ubyte": idx((labels,), bytes(range(labels))),
        "t10k-images-idx3-ubyte": idx((2, 28, 28), b"\xff" * 1568),
        "t10k-labels-idx1-ubyte": idx((2,), b"\x01\x02"),
    }
    for name, content in parts.items():
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)


def no_network(name: str) -> tuple[Array, Array]:
    raise DataError(f"{name}: no network here")


@pytest.mark.parametrize("packed", [True, False])
def test_packed_and_plain_files_are_read_as_bytes(tmp_path: Path, *, packed: bool) -> None:
    write_set(tmp_path, packed=packed)
    data = images.load_images("mnist", folder=str(tmp_path), fetch=no_network)
    assert data.train_x.shape == (7, 1, 28, 28)
    assert data.train_x.dtype == np.uint8
    assert data.train_y.tolist() == list(range(7))
    assert data.classes == 10


def test_scaling_is_to_mean_zero_and_deviation_one(tmp_path: Path) -> None:
    write_set(tmp_path)
    scaling = images.load_images("mnist", folder=str(tmp_path)).scaling
    assert 0 * scaling.gain + scaling.offset == pytest.approx(-0.1307 / 0.3081)
    assert 255 * scaling.gain + scaling.offset == pytest.approx((1 - 0.1307) / 0.3081)


def test_a_given_folder_is_the_only_one_looked_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_set(tmp_path / "mnist")
    monkeypatch.setenv("P2PFL_DATA", str(tmp_path))
    with pytest.raises(DataError, match="elsewhere lacks one of train-images"):
        images.load_images("mnist", folder=str(tmp_path / "elsewhere"), fetch=no_network)


def test_folders_are_looked_in_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("P2PFL_DATA", str(tmp_path / "env"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    order = [
        tmp_path / "env" / "mnist",
        here / "data" / "mnist",
        tmp_path / "shared" / "data" / "mnist",
        tmp_path / "cache" / "p2pfl" / "mnist",
    ]
    assert data_folders("mnist") == order
    for folder in reversed(order):
        write_set(folder)
        assert find_folder("mnist", folder="", files=images.FILES) == folder


def test_without_the_variable_the_cache_is_in_the_users_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("mnist") == tmp_path / ".cache" / "p2pfl" / "mnist"


def test_counts_that_differ_are_refused_with_the_files_name(tmp_path: Path) -> None:
    write_set(tmp_path, labels=6)
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte\.gz: 6 labels for 7 images"):
        images.load_images("mnist", folder=str(tmp_path))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "wrong magic nothing"),
        (b"\x00\x00\x0d\x03", "wrong magic 00000d03, expected 00000803"),
        (idx((2, 2), bytes(4)), "wrong magic 00000802"),
        (idx((2, 2, 2), b"")[:10], "torn in the header"),
        (idx((2, 2, 2), bytes(7)), "promises 8 bytes, found only 7"),
        (idx((2, 2, 2), bytes(9)), "promises 8 bytes, found more"),
        (idx((60000, 60000, 60000), b""), "the limit is"),
    ],
)
def test_a_damaged_file_is_refused_with_its_name(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    for path, stored in (
        (tmp_path / "x-idx3-ubyte", content),
        (tmp_path / "x-idx3-ubyte.gz", gzip.compress(content)),
    ):
        path.write_bytes(stored)
        with pytest.raises(DataError, match=rf"{path.name}: .*{sentence}"):
            read_idx(path, axes=3)


@pytest.mark.parametrize("length", [0, 5, 30, -9])
def test_a_torn_archive_is_refused_with_its_name(tmp_path: Path, length: int) -> None:
    noise = np.random.default_rng(0).bytes(800)
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(idx((8, 10, 10), noise))[:length])
    with pytest.raises(DataError, match=r"x\.gz: (torn|wrong magic nothing)"):
        read_idx(path, axes=3)


def test_without_files_and_network_the_places_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("P2PFL_DATA", raising=False)
    with pytest.raises(DataError, match=r"no network here; put its files into one of .*data/mnist"):
        images.load_images("mnist", fetch=no_network)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_stated_mean_and_deviation_are_those_of_the_data(name: str) -> None:
    folder = find_folder(name, folder="", files=images.FILES)
    if folder is None:
        pytest.skip("no MNIST folder")
    data = images.load_images(name)
    assert data.test_x is not None
    assert (len(data), len(data.test_x)) == (60000, 10000)
    assert np.bincount(data.train_y).min() > 5000
    pixels = data.train_x[::10].astype(np.float64) * data.scaling.gain + data.scaling.offset
    assert abs(pixels.mean()) < 0.03
    assert abs(pixels.std() - 1) < 0.03
