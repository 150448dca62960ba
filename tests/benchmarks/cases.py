"""What the simulator's benchmark measures, one case at a time, in the process that asks."""

import resource
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from time import perf_counter, process_time, time
from typing import Final, ParamSpec, TypeVar

import psutil
import torch
from noise import load
from torch import nn

from p2pfl.config.load import config_from_mapping
from p2pfl.config.schema import SimulationConfig, StopConfig
from p2pfl.experiment import Experiment
from p2pfl.learning.trainer import Trainer, TrainJob
from p2pfl.simulation.profile import Part, Profile
from p2pfl.simulation.simulate import simulate

P = ParamSpec("P")
T = TypeVar("T")

HERE: Final = Path(__file__).parent
BATCH: Final = 16
HIDDEN: Final = {"2 k": [32], "50 k": [190, 190], "1 M": [963, 963]}
"""Parameters -> hidden widths of the MLP from 64 inputs to 10 classes: 2,410, 50,550, 1,000,567."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One simulation: random 4-regular graph, batch 16, lognormal speeds of sigma 0.5."""

    kind: str = "pull_mix"
    nodes: int
    model: str = "2 k"
    local_steps: int = 1
    steps: int
    """Gradient steps per node."""
    fast: bool = False
    """One node is twenty times faster than the others."""

    @property
    def title(self) -> str:
        """What the table calls it."""
        name = {"pull_mix": "PullMix", "dpsgd": "D-PSGD", "fedavg": "FedAvg"}[self.kind]
        fast = ", one 20 times faster" if self.fast else ""
        return f"{name}, n = {self.nodes:,}, {self.model}, H = {self.local_steps}{fast}"

    def experiment(self) -> Experiment:
        """The case as an experiment."""
        table = {
            "name": "bench",
            "topology": {
                "kind": "random_regular",
                "nodes": self.nodes,
                "degree": min(4, self.nodes - 1),
            },
            "data": "noise:load",
            "model": {"kind": "mlp", "hidden": HIDDEN[self.model]},
            "training": {
                "learning_rate": 0.1,
                "batch_size": BATCH,
                "local_steps": self.local_steps,
            },
            "algorithm": {"kind": self.kind},
            "compute": {
                "step_s": 0.01,
                "distribution": "lognormal",
                "sigma": 0.5,
                "slowdown": {"n0": 0.05} if self.fast else {},
            },
            "network": {"latency_s": 0.001},
            # One fast node does twenty times the steps of the others: stop by time.
            "stop": {"time_s": 0.01 * self.steps} if self.fast else {"steps": self.steps},
            "evaluation": {"every_s": 1e6, "samples": 1},
        }
        return Experiment(config_from_mapping(table, source="bench"), folder=HERE)


def measure(case: Case) -> dict[str, float]:
    """One simulation: node-steps per CPU second, mean batch width, memory, seconds."""
    return measure_experiment(case.experiment())


def measure_experiment(experiment: Experiment) -> dict[str, float]:
    """As `measure`, of any experiment."""
    trainer = experiment.make_trainer()
    # The first run warms what is made once (traced gradients, allocator).
    warm = experiment.replace(
        stop=StopConfig(time_s=2 * (experiment.config.compute.step_s or 0.01))
    )
    simulate(warm, trainer=trainer)
    calls = count_calls(trainer)
    started_s = time() - psutil.Process().create_time()
    ready_s, ready_cpu_s = perf_counter(), process_time()
    result = simulate(experiment, trainer=trainer)
    cpu_s, run_s = process_time() - ready_cpu_s, perf_counter() - ready_s
    updates = sum(node.versions for node in result.learners)
    return {
        "node_steps": result.final.steps,
        "rate": result.final.steps / cpu_s,
        "width": updates / len(calls),
        "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "start_s": started_s,
        "run_s": run_s,
    }


def count_calls(trainer: Trainer) -> list[None]:
    """A list that grows with every call of the trainer from now on."""
    calls: list[None] = []

    def counted(method: Callable[P, T]) -> Callable[P, T]:
        def call(*args: P.args, **named: P.kwargs) -> T:
            calls.append(None)
            return method(*args, **named)

        return call

    for name in ("train", "train_rows"):
        if hasattr(trainer, name):
            setattr(trainer, name, counted(getattr(trainer, name)))
    return calls


def profile(case: Case) -> dict[str, float]:
    """Microseconds of CPU time per node-step by part, evaluations left out."""
    experiment = case.experiment()
    trainer = experiment.make_trainer()
    warm = replace(case, steps=2 * case.local_steps, fast=False).experiment()
    simulate(warm, trainer=trainer)
    watch = Profile(process_time)
    result = simulate(experiment, trainer=trainer, profile=watch)
    parts: tuple[Part, ...] = ("training", "mixing", "events")
    return {part: 1e6 * watch.seconds[part] / result.final.steps for part in parts}


# ------------------------------------------------------------ no simulator around it

LOOP_NODES: Final = 100
LOOP_S: Final = 3.0


def loop_trainer(
    experiment: Experiment, *, nodes: int = LOOP_NODES, seconds: float = LOOP_S
) -> dict[str, float]:
    """p2pfl's plain trainer, one node after the other, training alone: per CPU second."""
    experiment = experiment.replace(simulation=SimulationConfig(trainer="loop"))
    trainer, names = experiment.make_trainer(), experiment.learners[:nodes]
    models = dict.fromkeys(names, trainer.initial())
    steps = experiment.config.training.local_steps or 1

    def step(call: int) -> None:
        node = names[call % len(names)]
        job = TrainJob(node, models[node], call * steps, steps, None)
        models[node] = trainer.train([job])[0].vector

    return {"rate": steps * _calls_per_s(step, seconds)}


def torch_loop(model: str, *, seconds: float = LOOP_S) -> dict[str, float]:
    """A loop over torch modules with torch's own optimizer, as written without a framework."""
    data = load()
    x, y = torch.from_numpy(data.train_x), torch.from_numpy(data.train_y)
    widths = [64, *HIDDEN[model], 10]
    modules = [_mlp(widths) for _ in range(LOOP_NODES)]
    optimizers = [torch.optim.SGD(module.parameters(), lr=0.1) for module in modules]
    share = len(x) // LOOP_NODES

    def step(call: int) -> None:
        place = call % LOOP_NODES
        chosen = place * share + torch.randperm(share)[:BATCH]
        optimizers[place].zero_grad()
        loss = nn.functional.cross_entropy(modules[place](x[chosen]), y[chosen])
        loss.backward()  # type: ignore[no-untyped-call] # torch ships it unannotated
        optimizers[place].step()

    return {"rate": _calls_per_s(step, seconds)}


def _mlp(widths: list[int]) -> nn.Module:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _calls_per_s(step: Callable[[int], None], seconds: float) -> float:
    """Calls per CPU second, after some to get warm."""
    calls = 3
    for call in range(calls):
        step(call)
    began_s = process_time()
    while process_time() - began_s < seconds:
        step(calls)
        calls += 1
    return (calls - 3) / (process_time() - began_s)
