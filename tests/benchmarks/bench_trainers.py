"""Node-steps per second of the trainers, by width: python tests/benchmarks/bench_trainers.py.

CPU seconds of this process (best of several), so that a busy machine does not matter; with more
than one thread they add up.
"""

# ruff: noqa: T201 - a script that prints a table

import sys
from collections.abc import Callable, Iterable
from functools import partial
from time import perf_counter, process_time

import torch

from p2pfl.learning.batched_trainer import BatchedTrainer
from p2pfl.learning.loop_trainer import LoopTrainer
from p2pfl.learning.sources import images
from p2pfl.learning.sources.folders import find_folder
from p2pfl.learning.task import Task, build_task
from p2pfl.learning.trainer import Trainer, TrainJob
from p2pfl.types import NodeId

ROUNDS = 5
ROUND_S = 0.3


def task(nodes: int, **changes: object) -> Task:
    arguments: dict[str, object] = {
        "nodes": [NodeId(f"n{i}") for i in range(nodes)],
        "seed": 0,
        "data": "digits",
        "model": "mlp",
        "learning_rate": 0.1,
        "batch_size": 16,
        **changes,
    }
    return build_task(**arguments)  # type: ignore[arg-type] # checked by running


def best(work: Callable[[int], object]) -> tuple[float, float]:
    """CPU and wall seconds of one call, the best of several rounds; its argument counts calls."""
    call, cpu_s, wall_s = 0, float("inf"), float("inf")
    work(call)
    for _ in range(ROUNDS):
        begin, begin_cpu, calls = perf_counter(), process_time(), 0
        while calls == 0 or perf_counter() - begin < ROUND_S:
            call, calls = call + 1, calls + 1
            work(call)
        cpu_s = min(cpu_s, (process_time() - begin_cpu) / calls)
        wall_s = min(wall_s, (perf_counter() - begin) / calls)
    return cpu_s, wall_s


def speed(trainer: Trainer, nodes: int, *, steps: int = 1) -> tuple[float, float]:
    """Node-steps per CPU second and per second, all nodes in one call."""
    starts = [trainer.initial().copy() for _ in range(nodes)]

    def work(call: int) -> None:
        jobs = [
            TrainJob(NodeId(f"n{i}"), start, call * steps, steps, None)
            for i, start in enumerate(starts)
        ]
        trainer.train(jobs)

    cpu_s, wall_s = best(work)
    return nodes * steps / cpu_s, nodes * steps / wall_s


def table(title: str, make: Callable[[int], Task], widths: Iterable[int]) -> None:
    """Print one line per width."""
    print(f"\n{title}\n{'width':>6} {'loop':>9} {'batched':>9} {'batched/wall s':>15}")
    for width in widths:
        made = make(width)
        loop = speed(LoopTrainer(made), width)[0]
        cpu, wall = speed(BatchedTrainer(made), width)
        print(f"{width:>6} {loop:>9.0f} {cpu:>9.0f} {wall:>15.0f}", flush=True)


def evaluation(nodes: int) -> None:
    """Print what an evaluation of so many models costs."""
    made = task(nodes, samples=None)
    names = list(made.shards)
    for trainer in (LoopTrainer(made), BatchedTrainer(made)):
        score = partial(trainer.evaluate, [trainer.initial().copy() for _ in names], names)
        cpu_s, _ = best(lambda _, score=score: score())  # type: ignore[misc] # the default binds the loop's variable
        name = type(trainer).__name__
        print(f"{name}: {nodes} models on {len(made.test_y)} digits {cpu_s:.3f} CPU s")


def main() -> None:
    """Print all tables."""
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; node-steps/CPU s")
    table("MLP 64-32-10, batch 16, H = 1", task, (1, 4, 16, 36, 64, 128, 240, 1000))
    table(
        "the same, AdamW", lambda n: task(n, optimizer="adamw", learning_rate=0.01), (36, 240, 1000)
    )
    evaluation(1000)
    if find_folder("mnist", folder="", files=images.FILES) is None:
        print("CNN skipped: no MNIST folder")
    elif "--quick" not in sys.argv:
        table(
            "CNN of McMahan et al. on MNIST, batch 10",
            lambda n: task(n, data="mnist", model="cnn", samples=5000, batch_size=10),
            (16, 64),
        )


if __name__ == "__main__":
    main()
