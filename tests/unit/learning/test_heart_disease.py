from pathlib import Path

import numpy as np
import pytest

from p2pfl.errors import DataError
from p2pfl.learning.sources.heart_disease import FILES, load_heart_disease

SIZES = {"cleveland": 30, "hungarian": 25, "switzerland": 15, "va": 20}


def write(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for (hospital, size), file in zip(SIZES.items(), FILES, strict=True):
        rows = []
        for i in range(size):
            row = [f"{value:.1f}" for value in rng.uniform(1, 9, 13)] + [str(i % 5)]
            if hospital == "switzerland":
                row[4] = "0"
                row[11] = "?"
            rows.append(",".join(row))
        (folder / file).write_text("\n".join(rows) + "\n")


def test_four_hospitals_are_read_with_a_fifth_of_each_held_out(tmp_path: Path) -> None:
    write(tmp_path)
    data = load_heart_disease(folder=str(tmp_path))
    assert data.ids is not None
    assert data.test_x is not None
    names, counts = np.unique(data.ids, return_counts=True)
    assert dict(zip(names, counts, strict=True)) == {k: v - v // 5 for k, v in SIZES.items()}
    assert len(data.test_x) == sum(v // 5 for v in SIZES.values())
    assert data.classes == 2


def test_features_are_standardised_and_gaps_are_told(tmp_path: Path) -> None:
    write(tmp_path)
    data = load_heart_disease(folder=str(tmp_path))
    assert data.train_x.shape[1] == 23
    assert np.isfinite(data.train_x).all()
    assert np.allclose(data.train_x.mean(axis=0), 0, atol=1e-5)
    assert np.allclose(data.train_x[:, :13].std(axis=0), 1, atol=1e-5)
    # Cholesterol 0 and the unknown `ca` of Switzerland are gaps; nobody else has any.
    swiss = data.ids == "switzerland"
    for column in (13 + 1, 13 + 8):
        assert (data.train_x[swiss, column] > 0).all()
        assert (data.train_x[~swiss, column] < 0).all()
    assert not data.train_x[:, 13].any(), "blood pressure is never missing here"


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("", "empty"),
        ("1,2,3\n", "row 1 has 3 columns, expected 14"),
        (",".join(["x"] * 14), "could not convert"),
        (",".join(["1"] * 13 + ["?"]), "no diagnosis"),
        ("1,2,\u00e4", "unreadable .*ascii"),
    ],
)
def test_a_damaged_file_is_refused_with_its_name(
    tmp_path: Path, damage: str, sentence: str
) -> None:
    write(tmp_path)
    (tmp_path / "processed.va.data").write_text(damage, encoding="utf-8")
    with pytest.raises(DataError, match=rf"processed\.va\.data: .*{sentence}"):
        load_heart_disease(folder=str(tmp_path))


def test_a_missing_hospital_is_told_with_where_it_was_looked_for(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "processed.va.data").unlink()
    with pytest.raises(DataError, match=f"not found in {tmp_path}"):
        load_heart_disease(folder=str(tmp_path))
