"""The 1,797 handwritten digits of 8x8 pixels that scikit-learn ships.

Source: Alpaydin and Kaynak, Optical recognition of handwritten digits, UCI, 1998.
"""

import numpy as np

from p2pfl.learning.dataset import Dataset, hold_out


def load_digits() -> Dataset:
    """The digits in [0, 1], `[m, 1, 8, 8]`; a fixed random fifth (359) is the test set."""
    # scikit-learn takes a second to import, so only who asks for the digits pays.
    from sklearn.datasets import load_digits as load

    bunch = load()
    x = (bunch.images[:, None] / 16.0).astype(np.float32)
    y = bunch.target.astype(np.int64)
    train, test = hold_out("digits", len(y))
    return Dataset(
        name="digits",
        train_x=x[train],
        train_y=y[train],
        test_x=x[test],
        test_y=y[test],
        classes=10,
    )
