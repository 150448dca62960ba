"""Records become JSON objects and come back equal, or are refused with the place."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.errors import DataError
from p2pfl.results.lines import from_object, from_plain, to_line, to_object
from p2pfl.types import NodeId


@dataclass(frozen=True, slots=True)
class Record:
    """One field of each kind that records have."""

    node: NodeId
    count: int
    number: float
    maybe: float | None
    shares: tuple[float, ...]
    pair: tuple[NodeId, int]
    kind: Literal["a", "b"]
    counts: Mapping[str, int]
    alive: bool = True


numbers = st.floats(allow_nan=False)
names = st.sampled_from([NodeId("n0"), NodeId("nan"), NodeId("inf")])


@given(
    st.builds(
        Record,
        node=names,
        count=st.integers(),
        number=numbers,
        maybe=st.none() | numbers,
        shares=st.lists(numbers).map(tuple),
        pair=st.tuples(names, st.integers()),
        kind=st.sampled_from(["a", "b"]),
        counts=st.dictionaries(st.text(), st.integers()),
        alive=st.booleans(),
    )
)
def test_a_record_comes_back_equal_through_strict_json(record: Record) -> None:
    line = to_line(to_object(record))
    assert "\n" not in line
    read = json.loads(line, parse_constant=pytest.fail)
    assert from_object(Record, read, where="here") == record


def test_nan_comes_back_as_nan() -> None:
    assert to_object(_record(number=math.nan))["number"] == "nan"
    back = from_plain(float, "nan", where="here")
    assert isinstance(back, float)
    assert math.isnan(back)


def test_numbers_of_numpy_are_plain_numbers_in_a_record() -> None:
    written = to_object(_record(number=np.float32(0.5), shares=(np.float64(0.25),)))
    assert written["number"] == 0.5
    assert json.dumps(written["shares"]) == "[0.25]"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"count": None}, "here: count is null, which is of the wrong type"),
        ({"count": True}, "here: count is true, which is of the wrong type"),
        ({"number": "many"}, 'here: number is "many", which is of the wrong type'),
        ({"kind": "c"}, 'here: kind is "c", which is of the wrong type'),
        ({"pair": ["n0"]}, "here: pair has 1 values; expected 2"),
        ({"colour": 1}, "here: colour is unknown; was it written by a newer p2pfl?"),
    ],
)
def test_what_is_no_record_is_refused_with_its_place(
    change: dict[str, object], sentence: str
) -> None:
    with pytest.raises(DataError) as refused:
        from_object(Record, to_object(_record()) | change, where="here")
    assert str(refused.value) == sentence


def test_a_missing_field_is_named_unless_it_has_a_default() -> None:
    found = to_object(_record())
    del found["alive"]
    assert from_object(Record, found, where="here") == _record()
    del found["count"]
    with pytest.raises(DataError, match="here: count is missing"):
        from_object(Record, found, where="here")
    with pytest.raises(DataError, match="here: is not a JSON object"):
        from_object(Record, [], where="here")


def _record(*, number: object = 1.0, shares: object = ()) -> Record:
    return Record(
        node=NodeId("n0"),
        count=1,
        number=number,  # type: ignore[arg-type]  # numpy's scalars are put in on purpose
        maybe=None,
        shares=shares,  # type: ignore[arg-type]  # the same
        pair=(NodeId("n1"), 2),
        kind="a",
        counts={"n0: stale": 3},
    )
