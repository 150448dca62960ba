"""Node-steps per second of the simulator: python tests/benchmarks/bench_simulator.py [--quick].

MLP 64-32-10 (2,410 parameters), batch 16, H = 1, random 4-regular graph, lognormal speeds of sigma
0.5 (DESIGN 8). Every case runs in a process of its own, so that its memory is its own. The plain
per-node loop, without any simulator around it, is measured in the same run.
"""

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from time import perf_counter

HERE = Path(__file__).parent
CASES: dict[str, dict[str, object]] = {
    "PullMix, n = 10": {"nodes": 10, "steps": 1000},
    "PullMix, n = 100": {"nodes": 100, "steps": 200},
    "PullMix, n = 1,000": {"nodes": 1000, "steps": 40},
    "PullMix, n = 1,000, one 20 times faster": {"nodes": 1000, "steps": 40, "fast": True},
    "PullMix, n = 1,000, H = 5": {"nodes": 1000, "steps": 100, "local_steps": 5},
    "PullMix, n = 10,000": {"nodes": 10_000, "steps": 8},
    "D-PSGD, n = 1,000": {"nodes": 1000, "steps": 40, "kind": "dpsgd"},
}
QUICK = ("PullMix, n = 100", "D-PSGD, n = 1,000")


def measure(
    nodes: int,
    steps: int,
    kind: str = "pull_mix",
    local_steps: int = 1,
    *,
    fast: bool = False,
) -> dict[str, float]:
    """One simulation in this process."""
    from p2pfl.config.load import config_from_mapping
    from p2pfl.experiment import Experiment
    from p2pfl.simulation.simulate import Simulation
    from p2pfl.simulation.trace import Trace

    table = {
        "name": "bench",
        "topology": {"kind": "random_regular", "nodes": nodes, "degree": min(4, nodes - 1)},
        "data": "noise:load",
        "model": {"kind": "mlp", "hidden": [32]},
        "training": {"learning_rate": 0.1, "batch_size": 16, "local_steps": local_steps},
        "algorithm": {"kind": kind},
        "compute": {
            "step_s": 0.01,
            "distribution": "lognormal",
            "sigma": 0.5,
            "slowdown": {"n0": 0.05} if fast else {},
        },
        "network": {"latency_s": 0.001},
        # One fast node does twenty times the steps of the others: stop by time.
        "stop": {"time_s": 0.01 * steps} if fast else {"steps": steps},
        "evaluation": {"every_s": 1e6, "samples": 1},
    }
    began_s = perf_counter()
    experiment = Experiment(config_from_mapping(table, source="bench"), folder=HERE)
    trainer = experiment.make_trainer()
    # The first run warms what is made once (traced gradients, allocator).
    Simulation(
        experiment.replace(stop=type(experiment.config.stop)(time_s=0.02)), trainer, Trace()
    ).run()
    ready_s = perf_counter()
    simulation = Simulation(experiment, trainer, Trace())
    result = simulation.run()
    run_s = perf_counter() - ready_s
    updates = sum(node.versions for node in result.nodes)
    return {
        "node_steps_per_s": result.final.steps / run_s,
        "width": updates / max(1, simulation.world.batches),
        "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "start_s": ready_s - began_s,
        "run_s": run_s,
    }


def loop() -> float:
    """Node-steps per second of the plain loop over nodes, one thread, nothing around it."""
    from p2pfl.config.load import config_from_mapping
    from p2pfl.experiment import Experiment
    from p2pfl.learning.trainer import TrainJob

    table = {
        "name": "bench",
        "topology": {"kind": "random_regular", "nodes": 100, "degree": 4},
        "data": "noise:load",
        "model": {"kind": "mlp", "hidden": [32]},
        "training": {"learning_rate": 0.1, "batch_size": 16, "local_steps": 1},
        "simulation": {"trainer": "loop"},
        "stop": {"steps": 1},
    }
    experiment = Experiment(config_from_mapping(table, source="bench"), folder=HERE)
    trainer = experiment.make_trainer()
    x0 = trainer.initial()
    rates = []
    for k in range(5):
        jobs = [TrainJob(node, x0, k, 1, None) for node in experiment.learners]
        began_s = perf_counter()
        trainer.train(jobs)
        rates.append(len(jobs) / (perf_counter() - began_s))
    return max(rates)


def apart(words: list[str]) -> dict[str, float]:
    """The answer of this script, started anew with these words."""
    done = subprocess.run(
        [sys.executable, __file__, *words], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def main() -> None:
    """Print the table, or (for this script itself) one case as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--case")
    parser.add_argument("--loop", action="store_true")
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(measure(**CASES[arguments.case])))  # type: ignore[arg-type]  # a table of keywords
        return
    if arguments.loop:
        print(json.dumps({"rate": loop()}))
        return
    plain = apart(["--loop"])["rate"]
    print(f"plain loop, no simulator: {plain:,.0f} node-steps/s\n")
    print(
        f"{'':42}{'node-steps/s':>13}{'x loop':>8}{'width':>8}{'MiB':>8}{'start s':>9}{'run s':>8}"
    )
    for case in QUICK if arguments.quick else CASES:
        found = apart(["--case", case])
        rate = found["node_steps_per_s"]
        print(
            f"{case:42}{rate:13,.0f}{rate / plain:8.1f}{found['width']:8.0f}"
            f"{found['memory_mib']:8,.0f}{found['start_s']:9.1f}{found['run_s']:8.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
