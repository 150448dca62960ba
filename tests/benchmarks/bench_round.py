"""What a round costs beyond computing and the wire: two nodes, a small model, a real broker.

bench_round.py [--quick]. A round is a local step of the MLP 64-32-10 and an exchange of models,
each node in a process of its own. *Compute* is the same step by the same trainer alone; *wire* is
half of a round trip of as many bytes between two bare clients of the same broker.
"""

import asyncio
import socket
import sys
from statistics import median
from time import perf_counter
from typing import Final

import aiomqtt
from results import Column, Table, conditions, keep

import p2pfl
from p2pfl.config.load import config_from_mapping
from p2pfl.learning.trainer import TrainJob

ROUNDS: Final = 600
AT_ONCE: Final = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
"""Without it small packets wait for others, for 40 ms."""
KINDS: Final = {"D-PSGD": "dpsgd", "FedAvg": "fedavg"}
"""PullMix has no rounds: nobody waits, so nothing is to be measured."""


def experiment(kind: str, rounds: int) -> p2pfl.Experiment:
    """As many rounds as that, as fast as they go, with nothing measured in between."""
    table = {
        "name": "rounds",
        "topology": {"kind": "path", "nodes": 2},
        "data": "digits",
        "model": "mlp",
        "training": {"learning_rate": 0.05, "local_steps": 1},
        "algorithm": {"kind": kind},
        "compute": {"slowdown": {}},
        "evaluation": {"every_s": 1e6},
        "stop": {"steps": rounds},
    }
    return p2pfl.Experiment(config_from_mapping(table, source="bench"))


def compute_ms(rounds: int) -> float:
    """A local step, with loading the model and reading the result, in the median."""
    one = experiment("dpsgd", rounds)
    node = one.learners[0]
    trainer = one.make_trainer(only=(node,))
    x, times_s = trainer.initial(), []
    for step in range(rounds):
        begun_s = perf_counter()
        (outcome,) = trainer.train([TrainJob(node, x, step, 1, None)])
        times_s.append(perf_counter() - begun_s)
        x = outcome.vector
    return 1e3 * median(times_s)


async def wire_ms(size: int, rounds: int) -> float:
    """Half of a round trip of so many bytes at QoS 1, in the median."""
    async with (
        p2pfl.EmbeddedBroker() as broker,
        aiomqtt.Client("127.0.0.1", broker.port, socket_options=AT_ONCE) as one,
        aiomqtt.Client("127.0.0.1", broker.port, socket_options=AT_ONCE) as other,
    ):
        await one.subscribe("back", qos=1)
        await other.subscribe("forth", qos=1)
        times_s = []
        for _ in range(rounds):
            begun_s = perf_counter()
            await one.publish("forth", bytes(size), qos=1)
            await anext(aiter(other.messages))
            await other.publish("back", bytes(size), qos=1)
            await anext(aiter(one.messages))
            times_s.append(perf_counter() - begun_s)
    return 1e3 * median(times_s) / 2


def round_ms(kind: str, rounds: int) -> tuple[float, int]:
    """A whole round for real, from the go to the end; and how many bytes went out in each."""
    result = p2pfl.run_experiment(experiment(kind, rounds))
    first = result.nodes[0]
    return 1e3 * result.duration_s / first.versions, first.out_bytes // first.versions


def measured(kind: str, rounds: int) -> dict[str, float]:
    """The parts of a round in milliseconds."""
    whole, size = round_ms(kind, rounds)
    compute = compute_ms(rounds)
    wire = asyncio.run(wire_ms(size, rounds // 2))
    # To a server and back the models travel one after the other; neighbours' cross.
    wire *= 2 if kind == "fedavg" else 1
    return {
        "bytes": size,
        "round": whole,
        "compute": compute,
        "wire": wire,
        "beyond": whole - compute - wire,
    }


def main() -> None:
    """Print and keep the table."""
    rounds = ROUNDS // 10 if "--quick" in sys.argv else ROUNDS
    table = Table(
        "rounds: two nodes, MLP 64-32-10",
        [Column("title", "milliseconds per round"), Column("bytes", "bytes out")]
        + [Column(k, t, ".2f") for k, t in [("round", "whole"), ("compute", "compute")]]
        + [Column("wire", "wire", ".2f"), Column("beyond", "beyond both", ".2f")],
    )
    table.open()
    for title, kind in KINDS.items():
        table.add({"title": title, **measured(kind, rounds)})
    keep(table, conditions=conditions())


if __name__ == "__main__":
    main()
