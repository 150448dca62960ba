"""Our YAML against another's reader."""

from collections.abc import Mapping

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.deploy.yaml import to_yaml

# As our files have them: control characters other than line ends have no place in YAML.
TEXTS = st.text(st.sampled_from([*map(chr, range(32, 127)), "\n", "é", "λ", "\u2192"]), max_size=20)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    TEXTS,
    st.sampled_from(["yes", "No", "on", "1e3", "0x1f", "~", "null", "a: b", "- x", "#", "a\nb\n"]),
)
KEYS = st.text(st.sampled_from([*map(chr, range(32, 127))]), min_size=1, max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_reads_back_the_same(value: object) -> None:
    assert yaml.safe_load(to_yaml(value)) == value


def test_people_can_read_it() -> None:
    text = to_yaml(
        {"name": "x", "on": True, "files": {"a.conf": "one\n\n  two\n"}, "list": [{"a": 1}, []]}
    )
    assert text == (
        'name: x\n"on": true\nfiles:\n  a.conf: |2\n    one\n\n      two\nlist:\n  - a: 1\n  - []\n'
    )


def test_what_is_no_plain_value_is_a_programmers_error() -> None:
    with pytest.raises(AssertionError):
        to_yaml(object())


def test_a_mapping_of_any_kind_is_a_mapping() -> None:
    class Own(dict[str, int]):
        pass

    own: Mapping[str, int] = Own(a=1)
    assert to_yaml(own) == "a: 1\n"
