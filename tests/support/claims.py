"""What every algorithm of the suite claims of itself: the law suite holds each to its claims."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from p2pfl.experiment import Experiment
from p2pfl.theory import servers
from p2pfl.theory.fixed_points import steady_bias
from p2pfl.theory.quadratics import relative_error, weighted_optimum
from support.experiments import mixing_matrix, quadratic_task, rates

Predicted = Callable[[Experiment], float]
"""The error of the nodes' mean model in the end, relative to the spread of the optima."""


def unbiased(_experiment: Experiment) -> float:
    """All data counts alike, whoever is slow."""
    return 0.0


def as_decentralized_sgd(experiment: Experiment) -> float:
    """The fixed point of x = W x - gamma g(W x): the bias of unequal data on a sparse graph."""
    task, training = quadratic_task(experiment), experiment.config.training
    return steady_bias(
        mixing_matrix(experiment),
        task.curvature,
        task.optima,
        learning_rate=training.learning_rate,
        local_steps=training.local_steps or 1,
    )


def with_momentum(beta: float) -> Predicted:
    """The same with a heavy ball that turns once per update."""

    def predicted(experiment: Experiment) -> float:
        task, training = quadratic_task(experiment), experiment.config.training
        return steady_bias(
            mixing_matrix(experiment),
            task.curvature,
            task.optima,
            learning_rate=training.learning_rate,
            momentum=beta,
        )

    return predicted


def in_proportion_to_speed(experiment: Experiment, power: int = 1) -> float:
    """Each node's data counts as often as it makes an update: omega_i ~ r_i."""
    task = quadratic_task(experiment)
    wanted = weighted_optimum(task.curvature, task.optima)
    weights = [rate**power for rate in rates(experiment)]
    found = weighted_optimum(task.curvature, task.optima, weights=weights)
    return relative_error(found, optimum=wanted, optima=task.optima)


def in_proportion_to_speed_squared(experiment: Experiment) -> float:
    """It makes updates at rate r_i, and is mixed in by others at that rate: omega_i ~ r_i^2."""
    return in_proportion_to_speed(experiment, power=2)


def by_rate(experiment: Experiment) -> float:
    """Who reports more often to a server counts more: compute and both ways of the network."""
    task, config = quadratic_task(experiment), experiment.config
    away_s = 2.0 * config.network.latency_s
    cycles = [1.0 / (1.0 / rate + away_s) for rate in rates(experiment)]
    return servers.predicted_bias(cycles, task.curvature, task.optima, exponent=0.0)


def everybody_alone(experiment: Experiment) -> float:
    """The mean of the nodes' own optima."""
    task = quadratic_task(experiment)
    wanted = weighted_optimum(task.curvature, task.optima)
    return relative_error(task.optima, optimum=wanted, optima=task.optima)


class Claim(NamedTuple):
    """What holds of one algorithm, and how it must be set up."""

    bias: Predicted
    tables: Mapping[str, Any] = {}
    """What its experiment needs besides its kind."""
    time_s: float = 1000.0
    """When it has forgotten its start, half of the nodes being five times slower."""
    agrees: bool = True
    """Nodes with equal data end at one model; without: they never meet."""
    survives: float | None = 0.05
    """Error to the survivors' optimum after a quarter has crashed; None: it needs everybody."""
    tolerance: float = 0.15
    """Of the bias, relative: more where there is no law but a rule of thumb."""
    unordered: bool = True
    """Loss, duplication and reordering leave the bias as it is."""


CLAIMS: Mapping[str, Claim] = {
    "pull_mix": Claim(as_decentralized_sgd),
    "track_mix": Claim(unbiased, time_s=1500.0, survives=1e-3),
    "push_sum": Claim(
        in_proportion_to_speed,
        tables={
            "algorithm": {"step": "x"},
            "training": {"learning_rate": 0.006},
            "topology": {"kind": "hypercube"},
        },
        time_s=1200.0,
    ),
    "dpsgd": Claim(as_decentralized_sgd, time_s=1200.0),
    "local_sgd": Claim(as_decentralized_sgd, time_s=1200.0),
    "dsgdm": Claim(
        with_momentum(0.9), tables={"training": {"learning_rate": 0.005}}, time_s=1500.0
    ),
    "qg_dsgdm": Claim(
        as_decentralized_sgd,
        tables={"algorithm": {"beta": 0.5}, "training": {"learning_rate": 0.02}},
        time_s=1800.0,
    ),
    "gradient_tracking": Claim(
        unbiased, tables={"training": {"learning_rate": 0.02}}, time_s=1500.0
    ),
    # A tree that a quarter leaves falls in pieces.
    "relay_sum": Claim(unbiased, time_s=2000.0, survives=None),
    "d2": Claim(unbiased, time_s=2000.0),
    "ad_psgd": Claim(
        in_proportion_to_speed,
        # On a ring the slow half mixes too little with the fast one for the law of small steps.
        tables={"topology": {"kind": "complete"}, "training": {"learning_rate": 0.02}},
        time_s=600.0,
        survives=0.1,
    ),
    "consume_once": Claim(
        in_proportion_to_speed,
        tables={"topology": {"kind": "hypercube"}, "training": {"learning_rate": 0.01}},
        time_s=800.0,
    ),
    "mix_on_receive": Claim(
        in_proportion_to_speed_squared,
        tables={"topology": {"kind": "hypercube"}, "training": {"learning_rate": 0.01}},
        time_s=800.0,
        survives=0.1,
    ),
    "gossip_learning": Claim(
        in_proportion_to_speed,
        tables={"training": {"learning_rate": 0.02}},
        survives=0.2,
        tolerance=0.4,
    ),
    "epidemic": Claim(
        in_proportion_to_speed_squared,
        tables={
            "topology": {"kind": "complete"},
            "algorithm": {"fanout": 3},
            "training": {"learning_rate": 0.02},
        },
        survives=0.1,
        tolerance=0.25,
    ),
    "sgp": Claim(as_decentralized_sgd, time_s=1200.0),
    "fedavg": Claim(unbiased, time_s=900.0),
    "fedprox": Claim(unbiased, time_s=900.0),
    "fedavgm": Claim(unbiased, tables={"algorithm": {"server_momentum": 0.5}}, time_s=900.0),
    "fedadam": Claim(unbiased, tables={"algorithm": {"server_learning_rate": 0.03}}, time_s=1500.0),
    "scaffold": Claim(unbiased, time_s=900.0),
    # What is lost is said again a second later, which hits fast clients harder.
    "fedasync": Claim(
        by_rate,
        tables={"algorithm": {"alpha": 0.05, "discount": "constant"}},
        unordered=False,
    ),
    "fedbuff": Claim(
        by_rate,
        tables={"algorithm": {"server_learning_rate": 0.5, "discount": "constant"}},
        unordered=False,
    ),
    "local": Claim(everybody_alone, time_s=1500.0, agrees=False, survives=None),
    "centralized": Claim(unbiased, time_s=300.0, survives=None),
}


def claimed_experiment_tables(kind: str) -> dict[str, Any]:
    """The tables of an experiment with this algorithm."""
    tables = dict(CLAIMS[kind].tables)
    return tables | {"algorithm": {"kind": kind, **tables.get("algorithm", {})}}


def spread_of_models(models: np.ndarray) -> float:
    """The largest distance of any model to their mean."""
    return float(np.linalg.norm(models - models.mean(axis=0), axis=1).max())
