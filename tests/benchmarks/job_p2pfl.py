"""The peers' job on p2pfl's simulator: python job_p2pfl.py DATA NODES STEPS ALGORITHM."""

import json
import sys
from time import perf_counter

from p2pfl.config.load import config_from_mapping
from p2pfl.experiment import Experiment
from p2pfl.simulation.profile import Profile
from p2pfl.simulation.simulate import simulate


def experiment_of(
    data: str, *, nodes: int, kind: str, steps: int, trainer: str = "auto"
) -> Experiment:
    """The job as an experiment: a random 4-regular graph (FedAvg: a star), lognormal speeds."""
    table = {
        "name": "bench",
        "topology": {"kind": "random_regular", "nodes": nodes, "degree": min(4, nodes - 1)},
        "data": {"kind": "npz", "folder": data},
        "model": {"kind": "mlp", "hidden": [32]},
        "algorithm": {"kind": kind},
        "training": {"learning_rate": 0.1, "batch_size": 16, "local_steps": 1},
        "compute": {"step_s": 0.01, "distribution": "lognormal", "sigma": 0.5},
        "simulation": {"trainer": trainer},
        "stop": {"steps": steps},
        "evaluation": {"every_s": 1e6},
    }
    return Experiment(config_from_mapping(table, source="bench"))


def main() -> None:
    """Warm up for a few steps, measure, answer. Evaluations are left out: the peers do none."""
    data, nodes, steps, kind = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    began_s = perf_counter()
    experiment = experiment_of(data, nodes=nodes, kind=kind, steps=steps)
    trainer = experiment.make_trainer()
    simulate(experiment_of(data, nodes=nodes, kind=kind, steps=3), trainer=trainer)
    profile, ready_s = Profile(perf_counter), perf_counter()
    result = simulate(experiment, trainer=trainer, profile=profile)
    whole_s = perf_counter() - ready_s
    answer = {
        "node_steps": result.final.steps,
        "run_s": whole_s - profile.seconds["evaluation"],
        "start_s": ready_s - began_s,
        "accuracy": result.final.accuracy_mean,
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
