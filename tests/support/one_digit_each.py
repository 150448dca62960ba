"""A user's own data function: the digits with their label as the natural id."""

from p2pfl.learning.dataset import Dataset
from p2pfl.learning.datasets import load_dataset


def load() -> Dataset:
    """Ten nodes, one digit each: n0 holds the zeros, n9 the nines."""
    digits = load_dataset("digits")
    return Dataset(
        name="one digit each",
        train_x=digits.train_x,
        train_y=digits.train_y,
        test_x=digits.test_x,
        test_y=digits.test_y,
        classes=digits.classes,
        ids=digits.train_y,
        scaling=digits.scaling,
    )
