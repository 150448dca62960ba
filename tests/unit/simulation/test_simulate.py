"""What a simulation leaves behind in memory: its result, and nothing else."""

import gc
import tracemalloc

import pytest

from p2pfl.config.load import config_from_mapping
from p2pfl.experiment import Experiment
from p2pfl.simulation.simulate import simulate

NODES, DIMENSION = 4, 200_000
VECTOR_BYTES = 4 * DIMENSION


def large(kind: str) -> Experiment:
    table = {
        "name": "large",
        "topology": {"kind": "ring", "nodes": NODES},
        "data": {"kind": "quadratic", "dimension": DIMENSION},
        "model": "quadratic",
        "algorithm": {"kind": kind},
        "training": {"learning_rate": 0.05, "local_steps": 1},
        "stop": {"steps": 1},
        "evaluation": {"every_s": 1000.0},
    }
    return Experiment(config_from_mapping(table, source="test"))


@pytest.mark.parametrize("kind", ["pull_mix", "dpsgd"])
def test_the_models_of_a_finished_run_do_not_wait_for_the_collector(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2pfl.simulation.simulate._LARGE_BYTES", NODES * VECTOR_BYTES - 1)
    experiment = large(kind)
    trainer = experiment.make_trainer()
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        result = simulate(experiment, trainer=trainer)
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    results = [*result.served.values(), *result.public.values()]
    assert kept_bytes < (len(results) + 1) * VECTOR_BYTES
