import numpy as np
import pytest

from p2pfl.errors import DataError
from p2pfl.learning.dataset import Dataset, dataset_from_arrays, hold_out
from p2pfl.types import Array


def arrays(size: int = 10) -> tuple[Array, Array]:
    return np.arange(size * 2.0).reshape(size, 2), np.arange(size) % 3


def test_types_are_made_right_and_classes_counted() -> None:
    x, y = arrays()
    data = dataset_from_arrays("own", x, y)
    assert data.train_x.dtype == np.float32
    assert data.train_y.dtype == np.int64
    assert data.classes == 3
    assert data.test_x is None


def test_pixels_stay_bytes_and_tokens_become_long() -> None:
    _, y = arrays()
    assert dataset_from_arrays("own", np.zeros((10, 4), np.uint8), y).train_x.dtype == np.uint8
    assert dataset_from_arrays("own", np.zeros((10, 4), np.int32), y).train_x.dtype == np.int64


def test_float_labels_mean_regression() -> None:
    x, y = arrays()
    data = dataset_from_arrays("own", x, y / 2)
    assert data.classes == 0
    assert data.train_y.dtype == np.float32


def test_told_classes_outweigh_the_labels_at_hand() -> None:
    x, y = arrays()
    assert dataset_from_arrays("own", x, y, classes=7).classes == 7
    with pytest.raises(DataError, match="labels reach from 0 to 2; allowed are 0 to 1"):
        dataset_from_arrays("own", x, y, classes=2)


def test_taking_keeps_ids_and_labels_together() -> None:
    x, y = arrays()
    data = dataset_from_arrays("own", x, y, ids=np.arange(10))
    taken = data.take(np.array([7, 2]))
    assert taken.train_y.tolist() == [1, 2]
    assert taken.ids is not None
    assert taken.ids.tolist() == [7, 2]
    assert len(taken) == 2


def test_flattening_makes_rows() -> None:
    x = np.zeros((6, 1, 4, 4), np.float32)
    y = np.zeros(6, np.int64)
    flat = dataset_from_arrays("own", x, y, test_x=x[:2], test_y=y[:2]).flattened()
    assert flat.train_x.shape == (6, 16)
    assert flat.test_x is not None
    assert flat.test_x.shape == (2, 16)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"train_y": np.zeros(9, np.int64)}, "10 training samples but 9 labels"),
        ({"train_x": np.zeros((0, 2)), "train_y": np.zeros(0, np.int64)}, "no training samples"),
        ({"train_x": np.full((10, 2), np.nan, np.float32)}, "sample is not finite"),
        ({"train_y": np.full(10, np.inf)}, "label is not finite"),
        ({"train_y": np.full(10, -1)}, "labels reach from -1 to -1"),
        ({"train_y": np.zeros((10, 2), np.int64)}, "one integer per sample"),
        ({"test_x": np.zeros((2, 2), np.float32)}, "test_x and test_y come together"),
        (
            {"test_x": np.zeros((2, 3), np.float32), "test_y": np.zeros(2, np.int64)},
            r"a test sample has shape \(3,\)",
        ),
        ({"ids": np.arange(3)}, "3 ids for 10 samples"),
    ],
)
def test_what_does_not_fit_is_refused_by_the_name_of_the_data(
    change: dict[str, Array], sentence: str
) -> None:
    parts: dict[str, Array] = {
        "train_x": np.zeros((10, 2), np.float32),
        "train_y": np.zeros(10, np.int64),
    }
    with pytest.raises(DataError, match=rf"^own: .*{sentence}"):
        Dataset(name="own", classes=3, **{**parts, **change})  # type: ignore[arg-type] # by key


def test_labels_of_words_are_refused() -> None:
    x, _ = arrays()
    with pytest.raises(DataError, match="number the classes 0, 1, 2"):
        dataset_from_arrays("own", x, np.array(["a"] * 10))
    with pytest.raises(DataError, match="samples of type <U1"):
        dataset_from_arrays("own", np.array(["a"] * 10), np.zeros(10, int))


def test_a_fifth_is_held_out_and_nothing_lost() -> None:
    train, test = hold_out("own", 103)
    assert len(test) == 20
    assert sorted([*train, *test]) == list(range(103))
    assert not np.array_equal(test, np.arange(20))


@pytest.mark.parametrize(
    ("x", "y", "word"),
    [
        (np.array(3.0), np.array(1), "one for each sample"),
        (np.zeros((4, 2)), np.array(1), "one for each sample"),
        (np.zeros((4, 0)), np.arange(4), r"samples of shape \(0,\) hold no numbers"),
        (np.full((4, 2), 1e300), np.arange(4), "is not finite"),
        (np.zeros((4, 2)), np.arange(4) * 10**12, "number the classes 0, 1, 2"),
    ],
)
def test_arrays_that_are_no_samples_are_refused_in_one_line(x: Array, y: Array, word: str) -> None:
    with pytest.raises(DataError, match=f"own: .*{word}"):
        dataset_from_arrays("own", x, y)


def test_few_labels_of_many_classes_are_classes_where_their_number_is_told() -> None:
    x, _ = arrays(2)
    assert dataset_from_arrays("own", x, np.array([0, 49_999]), classes=50_000).classes == 50_000
