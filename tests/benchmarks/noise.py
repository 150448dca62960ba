"""A user's data function for benchmarks: as many samples as 10,000 nodes need, of no meaning."""

import numpy as np

from p2pfl.learning.dataset import Dataset, dataset_from_arrays


def load() -> Dataset:
    """160,000 samples of the digits' shape for training, 359 to test on."""
    rng = np.random.default_rng(0)
    x = rng.random((160_359, 64), np.float32)
    y = np.arange(len(x)) % 10
    return dataset_from_arrays("noise", x[359:], y[359:], test_x=x[:359], test_y=y[:359])
