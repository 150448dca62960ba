from typing import Any

import numpy as np
import pytest

from p2pfl.topology import summary
from p2pfl.topology.build import build_topology
from p2pfl.topology.schedules import Schedule, from_edges_per_round
from p2pfl.topology.summary import ScheduleSummary, contraction, summarize, summarize_schedule


def schedule(**words: Any) -> Schedule:  # noqa: ANN401 - words as a file says them
    found = build_topology(**words).schedule
    assert found is not None
    return found


def told(**words: Any) -> ScheduleSummary:  # noqa: ANN401 - words as a file says them
    return summarize_schedule(schedule(**words))


def test_an_exact_schedule_is_told_as_such() -> None:
    found = told(kind="base", nodes=25, degree=1)
    assert found.exact
    assert (found.nodes, found.rounds, found.degree_max) == (25, 9, 1)
    assert found.contraction == found.contraction_per_round == 0.0
    assert found.keeps_mean
    assert not found.directed
    assert found.degree_mean == pytest.approx(196 / 225)


def test_a_round_of_all_with_all_is_exact() -> None:
    assert told(kind="base", nodes=5, degree=4).exact


def test_a_schedule_that_only_shrinks_disagreement_is_not_called_exact() -> None:
    found = told(kind="equi_dyn", nodes=17, rounds=100)
    assert 0.0 < found.contraction < summary.EXACT
    assert not found.exact
    assert 0.5 < found.contraction_per_round < 0.8


def test_two_exact_periods_in_one_are_no_later_exactness() -> None:
    """What is exact before its last round is not "exact after L rounds"."""
    pairs = [[(0, 1, 0.5), (2, 3, 0.5)], [(0, 2, 0.5), (1, 3, 0.5)]]
    assert summarize_schedule(from_edges_per_round(4, pairs)).exact
    assert not summarize_schedule(from_edges_per_round(4, pairs + pairs)).exact


def test_contraction_is_the_norm_of_the_product_without_the_mean() -> None:
    one_way = schedule(kind="one_peer_exponential", nodes=12)
    assert contraction(one_way, 0) == pytest.approx(1.0)
    assert contraction(one_way, 4) == pytest.approx(
        float(np.linalg.norm(one_way.product() - 1 / 12, ord=2))
    )
    local = schedule(kind="el_local", nodes=9, degree=2, rounds=3)
    product = local.product()
    assert contraction(local, 3) == pytest.approx(
        float(np.linalg.norm(product - product.mean(axis=0), ord=2))
    )
    assert not summarize_schedule(local).keeps_mean


@pytest.mark.parametrize(
    "words",
    [
        {"kind": "one_peer_exponential", "nodes": 12},
        {"kind": "el_local", "nodes": 20, "degree": 2, "rounds": 4},
        {"kind": "base", "nodes": 12, "degree": 1},
    ],
)
def test_sparse_and_dense_contractions_agree(
    words: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = schedule(**words)
    dense = [contraction(found, rounds) for rounds in (1, found.period)]
    monkeypatch.setattr(summary, "MAX_DENSE", 0)
    sparse = [contraction(found, rounds) for rounds in (1, found.period)]
    assert sparse == pytest.approx(dense, abs=1e-9)


def test_nothing_left_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "MAX_DENSE", 0)
    pair = from_edges_per_round(2, [[(0, 1, 0.5)]])
    assert contraction(pair, 1) == 0.0


def test_a_schedules_static_summary_is_that_of_its_expected_matrix() -> None:
    found = summarize(build_topology(kind="one_peer_hypercube", nodes=8))
    assert found.second_eigenvalue == pytest.approx(2 / 3)
    assert (found.degree_max, found.diameter, found.weights) == (3, 3, "own")


def test_given_weights_have_a_summary() -> None:
    found = summarize(build_topology(kind="ring", nodes=16, weights="best_constant"))
    assert found.second_eigenvalue == pytest.approx(0.92667, abs=5e-6)
    static = summarize(build_topology(kind="equi_static", nodes=17, degree=4))
    assert (static.weights, static.degree_max) == ("own", 8)
