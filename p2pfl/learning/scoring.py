"""Counting what a model gets right, batch by batch."""

import math

import numpy as np
from torch import Tensor

from p2pfl.learning.trainer import Score


class Tally:
    """Collects outputs against labels into one `Score`. A class without samples scores nan."""

    def __init__(self, classes: int) -> None:
        self._loss = 0.0
        self._seen = 0
        self._total = np.zeros(classes, np.int64)
        self._right = np.zeros(classes, np.int64)

    def add(self, outputs: Tensor, labels: Tensor, loss: float) -> None:
        """Count one batch: outputs `[B, C, ...]`, labels `[B]`, and its mean loss."""
        count = len(labels)
        self._seen += count
        self._loss += loss * count
        classes = len(self._total)
        if classes:
            right = labels[outputs.argmax(1) == labels].numpy()
            self._total += np.bincount(labels.numpy(), minlength=classes)
            self._right += np.bincount(right, minlength=classes)

    def score(self) -> Score:
        """The mean loss and, with classes, the accuracy, whole and per class."""
        loss = self._loss / self._seen
        if not len(self._total):
            return Score(loss)
        per_class = tuple(
            right / total if total else math.nan
            for right, total in zip(self._right.tolist(), self._total.tolist(), strict=True)
        )
        return Score(loss, int(self._right.sum()) / self._seen, per_class)
