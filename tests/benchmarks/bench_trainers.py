"""Node-steps per second of the trainers, by width: python tests/benchmarks/bench_trainers.py.

CPU seconds of this process (best of several), so that a busy machine does not matter; with more
than one thread they add up. `--quick` leaves out the large models.
"""

import sys
from collections.abc import Callable, Iterable
from functools import partial
from time import perf_counter, process_time

import numpy as np
import torch

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


def table(
    title: str, make: Callable[[int], Task], widths: Iterable[int], *, steps: int = 1
) -> None:
    """Print one line per width."""
    print(f"\n{title}\n{'width':>6} {'loop':>9} {'batched':>9} {'batched/wall s':>15}")
    for width in widths:
        made = make(width)
        loop = speed(LoopTrainer(made), width, steps=steps)[0]
        cpu, wall = speed(BatchedTrainer(made), width, steps=steps)
        print(f"{width:>6} {loop:>9.0f} {cpu:>9.0f} {wall:>15.0f}", flush=True)


def evaluation(nodes: int) -> None:
    """Print what an evaluation of so many models costs."""
    made = small(nodes)
    print()
    for trainer in (LoopTrainer(made), BatchedTrainer(made)):
        score = partial(trainer.evaluate, [trainer.initial().copy()] * nodes, names(nodes))
        cpu_s, _ = best(lambda _, score=score: score())  # type: ignore[misc] # the default binds the loop's variable
        name = type(trainer).__name__
        print(f"{name}: {nodes} models on {len(made.test_y)} samples {cpu_s:.3f} CPU s")


def large() -> None:
    """Print the tables of models that keep a core busy one at a time."""
    if find_folder("mnist", folder="", files=images.FILES) is None:
        print("CNN skipped: no MNIST folder")
    else:
        table(
            "CNN of McMahan et al. (1.66 M) on MNIST, batch 10",
            lambda n: build_task(
                nodes=names(n),
                seed=0,
                data="mnist",
                samples=2000,
                model="cnn",
                learning_rate=0.1,
                batch_size=10,
            ),
            (16, 64),
        )
    if find_folder("tinyshakespeare", folder="", files=shakespeare.FILES) is None:
        print("LSTM skipped: no Shakespeare folder")
    else:
        table(
            "LSTM of 128 units on tiny Shakespeare, batch 10",
            lambda n: build_task(
                nodes=names(n),
                seed=0,
                data="shakespeare",
                partition="natural_id",
                model="lstm",
                hidden=(128,),
                learning_rate=0.5,
                batch_size=10,
            ),
            (16, 64),
        )


def main() -> None:
    """Print all tables."""
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, one thread; node-steps per CPU second")
    table("MLP 64-32-10, batch 16, H = 1", small, (1, 4, 16, 36, 64, 128, 256, 1024, 4096))
    table("the same, H = 5", small, (36, 256, 1024), steps=5)
    adamw = partial(small, optimizer="adamw", learning_rate=0.01)
    table("the same, H = 1, AdamW", adamw, (36, 256, 1024))
    evaluation(1000)
    if "--quick" not in sys.argv:
        large()


if __name__ == "__main__":
    main()
