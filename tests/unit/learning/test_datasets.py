from pathlib import Path

import numpy as np
import pytest

from p2pfl.errors import ConfigError, DataError
from p2pfl.learning.datasets import load_dataset

OWN = """
import numpy as np
from p2pfl.learning.dataset import dataset_from_arrays
import own_neighbour

X, Y = np.zeros((6, 2)), np.arange(6) % 2

def pair(): return X, Y
def four(): return X, Y, X[:2], Y[:2]
def mapping(folder, seed): return {"x": X + seed, "y": Y, "ids": Y, "classes": 4}
def whole(): return dataset_from_arrays("mine", X, Y)
def number(): return 3
def without_y(): return {"x": X, "labels": Y}
text = "not a function"
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("sys.path", __import__("sys").path.copy())
    (tmp_path / "own_loader.py").write_text(OWN)
    (tmp_path / "own_neighbour.py").write_text("")
    for name in ("own_loader", "own_neighbour"):
        monkeypatch.delitem(__import__("sys").modules, name, raising=False)
    return str(tmp_path)


def test_the_digits_have_a_fixed_fifth_for_testing() -> None:
    data = load_dataset("digits", seed=5)
    assert data.test_x is not None
    assert (len(data), len(data.test_x)) == (1438, 359)
    assert data.train_x.shape[1:] == (1, 8, 8)
    assert data.train_x.max() == 1.0
    again = load_dataset("digits", seed=6)
    assert np.array_equal(data.train_y, again.train_y)


def test_an_unknown_kind_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(ConfigError, match="'mnits' is unknown; allowed are digits, mnist"):
        load_dataset("mnits")


def test_each_kind_looks_in_the_folder_it_is_given(tmp_path: Path) -> None:
    for kind in ("mnist", "fashion-mnist", "heart-disease"):
        with pytest.raises(DataError, match=f"^{kind}: .*{tmp_path / 'none'}"):
            load_dataset(kind, folder="none", base=str(tmp_path))


def test_an_npz_file_is_read_with_all_its_arrays(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).random((20, 3)), np.arange(20) % 4
    np.savez(tmp_path / "my.npz", x=x, y=y, test_x=x[:5], test_y=y[:5], ids=y, classes=9)
    for kind, folder in (("npz", "my.npz"), ("npz", "."), ("my.npz", "")):
        data = load_dataset(kind, folder=folder, base=str(tmp_path))
        assert data.classes == 9
        assert data.test_x is not None
        assert data.ids is not None
        assert np.allclose(data.train_x, x)


def test_an_npz_without_labels_says_what_it_has(tmp_path: Path) -> None:
    np.savez(tmp_path / "my.npz", x=np.zeros(3), labels=np.zeros(3))
    with pytest.raises(DataError, match=r"my\.npz: no array 'y'; found x, labels"):
        load_dataset("npz", folder=str(tmp_path / "my.npz"))


def test_missing_torn_and_pickled_npz_files_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.npz: no such file"):
        load_dataset("npz", folder=str(tmp_path / "none.npz"))
    whole = tmp_path / "whole.npz"
    np.savez(whole, x=np.zeros((100, 3)), y=np.zeros(100))
    (tmp_path / "torn.npz").write_bytes(whole.read_bytes()[:700])
    with pytest.raises(DataError, match=r"torn\.npz: not a readable"):
        load_dataset("npz", folder=str(tmp_path / "torn.npz"))
    np.savez(tmp_path / "pickled.npz", x=np.array([{}], dtype=object), y=np.zeros(1))
    with pytest.raises(DataError, match=r"pickled\.npz: not a readable"):
        load_dataset("npz", folder=str(tmp_path / "pickled.npz"))
    with pytest.raises(DataError, match=r"3 \.npz files|2 \.npz files"):
        load_dataset("npz", folder=str(tmp_path))
    with pytest.raises(ConfigError, match=r"needs data\.folder"):
        load_dataset("npz")


def test_the_users_function_may_return_arrays_in_several_forms(own: str) -> None:
    assert load_dataset("own_loader:pair", base=own).test_x is None
    assert load_dataset("own_loader:four", base=own).test_x is not None
    assert load_dataset("own_loader:whole", base=own).name == "mine"
    data = load_dataset("own_loader:mapping", base=own, seed=3)
    assert data.train_x[0].tolist() == [3.0, 3.0]
    assert data.classes == 4
    assert data.ids is not None


def test_what_the_users_function_returns_is_checked(own: str) -> None:
    with pytest.raises(DataError, match="own_loader:number: returned int; expected a Dataset"):
        load_dataset("own_loader:number", base=own)
    with pytest.raises(DataError, match=r"needs x and y.*found labels, x"):
        load_dataset("own_loader:without_y", base=own)


def test_a_function_that_is_not_there_is_told_by_name(own: str) -> None:
    with pytest.raises(ConfigError, match=r"'lode' is not there in .*own_loader\.py"):
        load_dataset("own_loader:lode", base=own)
    with pytest.raises(ConfigError, match="'text' cannot be called"):
        load_dataset("own_loader:text", base=own)
    with pytest.raises(ConfigError, match="cannot import 'no_such_module'"):
        load_dataset("no_such_module:load", base=own)
    with pytest.raises(ConfigError, match="expected module:function"):
        load_dataset("own_loader:", base=own)


@pytest.mark.parametrize("classes", [np.array([[10, 2]]), np.array("ten"), np.array(-3), 2.5])
def test_a_number_of_classes_that_is_none_is_refused(tmp_path: Path, classes: object) -> None:
    np.savez(tmp_path / "my.npz", x=np.zeros((4, 2)), y=np.arange(4), classes=np.asarray(classes))
    with pytest.raises(DataError, match=r"my\.npz: classes must be one whole number"):
        load_dataset("npz", folder=str(tmp_path / "my.npz"))


def test_a_bare_array_under_the_name_of_an_npz_file_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "bare.npz").open("wb") as stream:
        np.save(stream, np.zeros(4))
    with pytest.raises(DataError, match=r"bare\.npz: not a readable"):
        load_dataset("npz", folder=str(tmp_path / "bare.npz"))
