"""A graph that is mended while nodes come and go."""

import numpy as np
import pytest
from support.experiments import quadratic_experiment, simulated

from p2pfl.config.load import config_from_mapping
from p2pfl.errors import ConfigError
from p2pfl.experiment import Experiment
from p2pfl.simulation.simulate import simulate
from p2pfl.simulation.world import World
from p2pfl.types import NodeId

CUT: dict[str, object] = {"crash": [{"node": "n2", "at_s": 20.0}, {"node": "n6", "at_s": 20.0}]}
"""Two deaths that cut a ring of eight in two."""


def ring(*, kind: str = "pull_mix", faults: dict[str, object], time_s: float = 400.0) -> Experiment:
    """The two sides of n2 and n6 want different things."""
    sites = [1.0, 1.0, 0.0, -1.0, -1.0, -1.0, 0.0, 1.0]
    return quadratic_experiment(
        nodes=8, slow=0, data={"sites": sites, "condition": 1.0}, faults=faults, time_s=time_s,
        topology={"kind": "ring", "nodes": 8}, algorithm={"kind": kind},
        training={"learning_rate": 0.02},
    )  # fmt: skip


def apart(world: World) -> float:
    """How far the two sides of the ring are from each other."""
    x = {name: one.node.public() for name, one in world.inhabitants.items()}
    sides = [np.mean([x[NodeId(f"n{i}")] for i in side], axis=0) for side in ((0, 1, 7), (3, 4, 5))]
    return float(np.linalg.norm(sides[0] - sides[1]))


def links(world: World) -> dict[str, set[str]]:
    return {
        name: set(one.node.neighbourhood.peers)
        for name, one in world.inhabitants.items()
        if one.alive
    }


@pytest.mark.parametrize("kind", ["pull_mix", "consume_once"])
def test_a_ring_cut_in_two_learns_on_as_one(kind: str) -> None:
    cut, _ = simulated(ring(kind=kind, faults=CUT))
    mended, result = simulated(ring(kind=kind, faults={**CUT, "repair_degree": 2}))
    assert apart(mended) < 0.3 * apart(cut)
    found = links(mended)
    assert all(len(peers) >= 2 for peers in found.values())
    assert all(name in found[peer] for name, peers in found.items() for peer in peers)
    weights = {
        (name, peer.node): peer.weight
        for name, one in mended.inhabitants.items()
        if one.alive
        for peer in one.node.neighbourhood.peers.values()
    }
    assert all(weight == weights[b, a] for (a, b), weight in weights.items())
    assert result.staleness_max <= 3.0


def test_when_all_are_back_the_graph_is_that_of_the_file() -> None:
    experiment = ring(
        faults={
            "crash": [{"node": "n2", "at_s": 20.0, "restart_s": 60.0}],
            "leave": [{"node": "n6", "at_s": 25.0, "return_s": 70.0}],
            "join": [{"node": "n4", "at_s": 30.0}],
            "repair_degree": 3,
        },
        time_s=120.0,
    )
    world, _ = simulated(experiment)
    graph = experiment.topology.graph
    assert links(world) == {name: set(graph.neighbours(name)) for name in graph.nodes}
    assert world.inhabitants[NodeId("n2")].node.version > 30
    assert simulate(experiment).trace_hash == simulate(experiment).trace_hash


def test_churn_with_sleep_leaves_nobody_alone() -> None:
    experiment = ring(
        faults={
            "churn": {"life_s": 60.0, "absence_s": 30.0, "graceful": 0.5},
            "repair_degree": 2,
        },
    )
    world, result = simulated(experiment)
    there = links(world)
    # What changed within the last moment of grace is not mended yet.
    assert sum(bool(peers & set(there)) for peers in there.values()) >= len(there) - 1
    assert np.isfinite(result.final.loss_mean)


def test_a_star_has_nothing_to_mend() -> None:
    assert simulate(ring(kind="fedavg", faults={**CUT, "repair_degree": 2}, time_s=50.0)).nodes


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({"algorithm": {"kind": "dpsgd"}}, "D-PSGD keeps what it has"),
        ({"algorithm": {"kind": "ad_psgd"}}, "AD-PSGD keeps what it has"),
        ({"topology": {"kind": "ring", "nodes": 8, "weights": "fdla"}}, "those of the whole graph"),
    ],
)
def test_what_cannot_be_mended_is_refused(tables: dict[str, object], told: str) -> None:
    base: dict[str, object] = {
        "name": "small",
        "topology": {"kind": "ring", "nodes": 8},
        "data": "quadratic",
        "model": "quadratic",
        "training": {"learning_rate": 0.05, "local_steps": 1},
        "stop": {"time_s": 10.0},
        "faults": {"repair_degree": 2},
    }
    with pytest.raises(ConfigError, match=told):
        simulate(Experiment(config_from_mapping({**base, **tables}, source="test")))
