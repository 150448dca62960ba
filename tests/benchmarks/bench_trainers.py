"""Node-steps per second of the trainers, by width: python tests/benchmarks/bench_trainers.py.

CPU seconds of this process (best of several), so that a busy machine does not matter; with more
than one thread they add up. `--quick` leaves out the large models.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from time import perf_counter, process_time
from typing import Final

import numpy as np
import torch
from results import Column, Table, conditions, keep

from p2pfl.learning.batched_trainer import BatchedTrainer
from p2pfl.learning.dataset import dataset_from_arrays
from p2pfl.learning.loop_trainer import LoopTrainer
from p2pfl.learning.partitions import Iid
from p2pfl.learning.sources import images, shakespeare
from p2pfl.learning.sources.folders import find_folder
from p2pfl.learning.task import Task, build_task, task_from_dataset
from p2pfl.learning.trainer import Trainer, TrainJob
from p2pfl.types import NodeId

ROUNDS = 5
ROUND_S = 0.3
COLUMNS: Final = (
    Column("title", "models at once"),
    Column("loop", "plain trainer"),
    Column("batched", "batched trainer"),
    Column("batched_wall", "batched, by the clock"),
)


def names(count: int) -> list[NodeId]:
    """So many nodes."""
    return [NodeId(f"n{i}") for i in range(count)]


def small(nodes: int, **changes: object) -> Task:
    """The MLP 64-32-10 on noise of the digits' shape, 16 samples per node and 359 to test on."""
    rng = np.random.default_rng(0)
    x = rng.random((16 * nodes + 359, 64), np.float32)
    y = np.arange(len(x)) % 10
    held = 16 * nodes
    noise = dataset_from_arrays("noise", x[:held], y[:held], test_x=x[held:], test_y=y[held:])
    arguments: dict[str, object] = {"model": "mlp", "learning_rate": 0.1, "batch_size": 16}
    arguments |= {"nodes": names(nodes), "seed": 0, "partition": Iid(), **changes}
    return task_from_dataset(noise, **arguments)  # type: ignore[arg-type] # checked by running


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


def measure(
    name: str, make: Callable[[int], Task], widths: Iterable[int], *, steps: int = 1
) -> Table:
    """One row per width."""
    table = Table(name, COLUMNS)
    table.open()
    for width in widths:
        made = make(width)
        loop = speed(LoopTrainer(made), width, steps=steps)[0]
        cpu, wall = speed(BatchedTrainer(made), width, steps=steps)
        table.add({"title": f"{width:,}", "loop": loop, "batched": cpu, "batched_wall": wall})
    return table


def evaluation(nodes: int) -> Table:
    """What an evaluation of so many models costs."""
    made = small(nodes)
    table = Table("evaluation", (Column("title", "evaluation"), Column("cpu_s", "CPU s", ",.3f")))
    table.open()
    for trainer in (LoopTrainer(made), BatchedTrainer(made)):
        score = partial(trainer.evaluate, [trainer.initial().copy()] * nodes, names(nodes))
        cpu_s, _ = best(lambda _, score=score: score())  # type: ignore[misc] # the default binds the loop's variable
        what = f"{nodes:,} models on {len(made.test_y)} samples, {type(trainer).__name__}"
        table.add({"title": what, "cpu_s": cpu_s})
    return table


def cnn(nodes: int) -> Task:
    """The convolutional network of McMahan et al. on MNIST."""
    return build_task(
        nodes=names(nodes),
        seed=0,
        data="mnist",
        samples=2000,
        model="cnn",
        learning_rate=0.1,
        batch_size=10,
    )


def lstm(nodes: int) -> Task:
    """An LSTM of 128 units on tiny Shakespeare, a speaker to a node."""
    return build_task(
        nodes=names(nodes),
        seed=0,
        data="shakespeare",
        partition="natural_id",
        model="lstm",
        hidden=(128,),
        learning_rate=0.5,
        batch_size=10,
    )


def large() -> Iterator[Table]:
    """Models that keep a core busy one at a time, where their data is on this machine."""
    for title, make, name, files in (
        ("CNN (1.66 M), MNIST, B = 10", cnn, "mnist", images.FILES),
        ("LSTM of 128, Shakespeare, B = 10", lstm, "tinyshakespeare", shakespeare.FILES),
    ):
        print(f"\n{title}")
        if find_folder(name, folder="", files=files) is None:
            print(f"left out: no {name} on this machine")
        else:
            yield measure(f"trainers: {title}", make, (16, 64))


def main() -> None:
    """Print and keep all tables."""
    torch.set_num_threads(1)
    here = conditions()
    adamw = partial(small, optimizer="adamw", learning_rate=0.01)
    widths = (1, 4, 16, 36, 64, 128, 256, 1024, 4096)
    tables = [
        measure("trainers: MLP 64-32-10, H = 1", small, widths),
        measure("trainers: MLP 64-32-10, H = 5", small, (36, 256, 1024), steps=5),
        measure("trainers: MLP 64-32-10, H = 1, AdamW", adamw, (36, 256, 1024)),
        evaluation(1000),
    ]
    for table in tables if "--quick" in sys.argv else chain(tables, large()):
        keep(table, conditions=here)


if __name__ == "__main__":
    main()
