"""No algorithm escapes the law suite (tests/simulation/test_suite_laws.py)."""

from support.claims import CLAIMS

from p2pfl.algorithms.suite import LABELS


def test_every_algorithm_says_in_claims_what_holds_of_it() -> None:
    assert set(CLAIMS) == set(LABELS)
