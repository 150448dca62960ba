"""Heart disease in four hospitals: real clients, each with patients, gaps and habits of its own.

Source: Janosi, Steinbrunn, Pfisterer and Detrano, Heart disease, UCI, 1988 (CC BY 4.0).
"""

import csv
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from p2pfl.errors import DataError
from p2pfl.learning.dataset import Dataset, hold_out
from p2pfl.learning.sources.folders import data_folders, find_folder

HOSPITALS: Final = ("cleveland", "hungarian", "switzerland", "va")
FILES: Final = tuple(f"processed.{hospital}.data" for hospital in HOSPITALS)
_COLUMNS: Final = 14
_GAPPED: Final = slice(3, 13)
"""Columns with missing values: from trestbps to thal. Each gets a 0/1 column that tells so."""
_NEVER_ZERO: Final = (3, 4)
"""Blood pressure and cholesterol of a living patient: 0 was written for missing."""


def load_heart_disease(*, folder: str = "") -> Dataset:
    """920 patients, 23 features, label 1 if the diagnosis is any disease (`num` > 0).

    Missing values become the median of the training rows, with a 0/1 column each that says so;
    then everything is standardised by the training rows. The ids are the hospitals; a fixed
    random fifth of each hospital is the test set, pooled.

    Raises:
        DataError: A file is missing, torn or has other columns.
    """
    found = find_folder("heart-disease", folder=folder, files=FILES)
    if found is None:
        places = folder or ", ".join(str(place) for place in data_folders("heart-disease"))
        raise DataError(f"heart-disease: {', '.join(FILES)} not found in {places}")
    tables = [_read(found / file) for file in FILES]
    cuts = [hold_out(h, len(t)) for h, t in zip(HOSPITALS, tables, strict=True)]
    train = np.concatenate([t[c[0]] for t, c in zip(tables, cuts, strict=True)])
    test = np.concatenate([t[c[1]] for t, c in zip(tables, cuts, strict=True)])
    ids = np.repeat(np.array(HOSPITALS), [len(c[0]) for c in cuts])
    median = np.nanmedian(train[:, :-1], axis=0)
    train_x, test_x = _features(train[:, :-1], median), _features(test[:, :-1], median)
    mean, deviation = train_x.mean(axis=0), train_x.std(axis=0)
    deviation[deviation == 0.0] = 1.0
    return Dataset(
        name="heart-disease",
        train_x=((train_x - mean) / deviation).astype(np.float32),
        train_y=(train[:, -1] > 0).astype(np.int64),
        test_x=((test_x - mean) / deviation).astype(np.float32),
        test_y=(test[:, -1] > 0).astype(np.int64),
        classes=2,
        ids=ids,
    )


def _read(path: Path) -> NDArray[np.float64]:
    try:
        with path.open(newline="", encoding="ascii") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: unreadable ({error}); fetch it again") from error
    if not rows:
        raise DataError(f"{path}: empty; fetch it again")
    for number, row in enumerate(rows, start=1):
        if len(row) != _COLUMNS:
            raise DataError(f"{path}: row {number} has {len(row)} columns, expected {_COLUMNS}")
    try:
        table = np.array([[np.nan if c == "?" else float(c) for c in row] for row in rows])
    except ValueError as error:
        raise DataError(f"{path}: {error}; fetch it again") from error
    if np.isnan(table[:, -1]).any():
        raise DataError(f"{path}: a row has no diagnosis in its last column")
    for column in _NEVER_ZERO:
        table[table[:, column] == 0.0, column] = np.nan
    return table


def _features(table: NDArray[np.float64], median: NDArray[np.float64]) -> NDArray[np.float64]:
    gaps = np.isnan(table)
    return np.concatenate([np.where(gaps, median, table), gaps[:, _GAPPED]], axis=1)
