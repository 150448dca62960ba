"""A node that resumes from a snapshot goes on as the one that was never stopped."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bench import Bench, make_bench, vector

from p2pfl.algorithms.base import Algorithm
from p2pfl.algorithms.d2 import D2
from p2pfl.algorithms.dpsgd import DPSGD
from p2pfl.algorithms.dsgdm import DSGDm
from p2pfl.algorithms.gradient_tracking import GradientTracking
from p2pfl.algorithms.local_sgd import LocalSGD
from p2pfl.algorithms.pull_mix import PullMix
from p2pfl.algorithms.qg_dsgdm import QGDSGDm
from p2pfl.algorithms.relay_sum import RelaySum
from p2pfl.protocol.node import Node

MOVES = st.lists(
    st.tuples(
        st.sampled_from(["model", "beat", "trained", "wake"]),
        st.sampled_from(["n1", "n2"]),
        st.integers(0, 6),
        st.floats(0.01, 2.0),
    ),
    max_size=25,
)


def follow(bench: Bench, moves: list[tuple[str, str, int, float]], now: float) -> list[str]:
    """What the node does about these events, as text."""
    said = []
    needs = bench.node.algorithm.capabilities
    beside, words = needs.beside, (1,) * (needs.words or 0)
    extra = None if beside is None else np.ones(beside.size(1), dtype=beside.dtype)
    for move, peer, version, wait_s in moves:
        now += wait_s
        if move == "model":
            effects = bench.model(
                peer, version, now, value=float(version), extra=extra, words=words
            )
        elif move == "beat":
            effects = bench.beat(peer, now, version=version)
        elif move == "trained":
            effects = bench.trained(now, float(version))
        else:
            effects = bench.wake(now)
        said.append(repr(effects))
    return said


@pytest.mark.parametrize(
    "rule",
    [
        PullMix(),
        DPSGD(),
        LocalSGD(switch_step=2),
        DSGDm(),
        QGDSGDm(),
        GradientTracking(),
        D2(),
        RelaySum(),
    ],
)
@given(before=MOVES, after=MOVES)
def test_a_node_resumed_from_a_snapshot_decides_the_same(
    rule: Algorithm[Any],
    before: list[tuple[str, str, int, float]],
    after: list[tuple[str, str, int, float]],
) -> None:
    bench = make_bench(algorithm=rule)
    bench.start()
    follow(bench, before, 0.0)
    was, sequences = bench.node.snapshot(), dict(bench.sequences)
    first = follow(bench, after, 100.0)

    other = make_bench(algorithm=rule)
    other.node = Node(other.settings, rule, vector(0.0))
    other.node.resume(was)
    other.sequences = sequences
    assert follow(other, after, 100.0) == first
    assert other.node.refused == bench.node.refused
    assert other.node.served(1000.0) == bench.node.served(1000.0)
