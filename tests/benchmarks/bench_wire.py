"""What models cost on their way from vector to vector, next to what nothing could do without.

bench_wire.py [--quick]. Four tables: frames of 25 million numbers next to one copy and one
checksum of as many; a mix with four neighbours of as many next to the memory's own bandwidth; nodes
of degree 4 on one broker that publish models of 1 MB as fast as they go, next to bare clients of
the same library that send the same packets over the same kind of broker; and `p2pfl --help`.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from statistics import median
from time import monotonic, perf_counter
from typing import Final

import aiomqtt
import numpy as np
import xxhash
from apart import FailedError, measure_apart, this_script
from bench_round import AT_ONCE
from results import Column, Table, conditions, keep

import p2pfl
from p2pfl.algorithms.mixing import mix
from p2pfl.codec.frame import decode, encode
from p2pfl.codec.limits import CHUNK_BYTES
from p2pfl.codec.parts import Assembly, Stamp, read_part, split
from p2pfl.messages import Header, Incarnation, ModelMessage, Neighbour
from p2pfl.runtime.memory import keep_freed_memory
from p2pfl.transport.base import Membership
from p2pfl.transport.broker import Engine
from p2pfl.types import NodeId, Vector

LARGE: Final = 25_000_000
SMALL: Final = 250_000
"""Numbers of a model of 1 MB."""
DEGREE: Final = 4
REPEATS: Final = 9
LIFE: Final = Incarnation(1, 1)
Work = Callable[[], object]


def median_ms(work: Work, repeats: int) -> float:
    """The median over some calls; the first, which touches new memory, does not count."""
    times_s = []
    for _ in range(repeats + 1):
        begun_s = perf_counter()
        work()
        times_s.append(perf_counter() - begun_s)
    return 1e3 * median(times_s[1:])


def model(vector: Vector) -> ModelMessage:
    """A model as a node publishes it."""
    return ModelMessage(Header("wire", "abc", NodeId("n0"), LIFE, 1, 1, 1, monotonic()), vector)


# ------------------------------------------------------------ frames


def frames(size: int, repeats: int) -> dict[str, float]:
    """Milliseconds for one model of `size` numbers, by what is done with it."""
    vector = np.random.default_rng(0).normal(size=size).astype(np.float32)
    vector.setflags(write=False)
    target, message = np.empty_like(vector), model(vector)
    frame = encode(message)
    whole = frame.join()
    stamp = Stamp(1, 1, 1)
    parts = list(split(frame, stamp=stamp, slot=0, chunk_bytes=CHUNK_BYTES))
    assembly = Assembly()

    def assembled() -> None:
        assembly.forget()
        for part in parts:
            assembly.add(read_part(part))

    def cut() -> None:
        for _ in split(encode(message), stamp=stamp, slot=0, chunk_bytes=CHUNK_BYTES):
            pass

    return {
        "copy": median_ms(lambda: np.copyto(target, vector), repeats),
        "checksum": median_ms(lambda: xxhash.xxh3_64_intdigest(vector.data), repeats),
        "encode": median_ms(lambda: encode(message), repeats),
        "cut": median_ms(cut, repeats),
        "assemble": median_ms(assembled, repeats),
        "decode": median_ms(lambda: decode(whole), repeats),
    }


def frame_table(size: int, repeats: int) -> Table:
    """What a frame costs at its sender and at its receiver."""
    table = Table(
        f"frames: {size / 1e6:g} M float32",
        [
            Column("title", "what"),
            Column("ms", "ms", ".1f"),
            Column("rate", "GB/s", ".2f"),
            Column("times", "% of the speed of copy + checksum"),
        ],
    )
    table.open()
    found = frames(size, repeats)
    base = found["copy"] + found["checksum"]
    titles = {
        "one copy": found["copy"],
        "one checksum (xxh3_64)": found["checksum"],
        "both": base,
        "encode": found["encode"],
        "decode, with a look for numbers that are none": found["decode"],
        "encode, and cut into parts with checksums": found["cut"],
        "parts checked and put together": found["assemble"],
    }
    for title, ms in titles.items():
        table.add({"title": title, "ms": ms, "rate": 4e-6 * size / ms, "times": 100 * base / ms})
    return table


# ------------------------------------------------------------ a mix


def mix_table(size: int, repeats: int) -> Table:
    """A mix with four neighbours, next to a copy of as many bytes in the same run."""
    rng = np.random.default_rng(1)
    x, *others = (rng.normal(size=size).astype(np.float32) for _ in range(1 + DEGREE))
    neighbours = [
        Neighbour(NodeId(f"n{k}"), 1.0 / (DEGREE + 1), 1.0, True, False, 1, model(v).header, v)
        for k, v in enumerate(others)
    ]
    target = np.empty_like(x)
    copy_ms = median_ms(lambda: np.copyto(target, x), repeats)
    new_ms = median_ms(x.copy, repeats)
    mix_ms = median_ms(lambda: mix(x, neighbours), repeats)
    table = Table(
        f"mix: degree {DEGREE}, {size / 1e6:g} M float32",
        [
            Column("title", "what"),
            Column("ms", "ms", ".1f"),
            Column("moved", "MB read and written"),
            Column("rate", "GB/s", ".2f"),
            Column("share", "% of the memory's bandwidth"),
        ],
    )
    table.open()
    rates = {}
    for title, ms, vectors in (
        ("one copy", copy_ms, 2),
        ("one copy, into new memory", new_ms, 2),
        ("mix, into new memory", mix_ms, DEGREE + 2),
    ):
        moved = 4e-6 * size * vectors
        rates[title] = moved / ms
        share = 100 * rates[title] / rates["one copy"]
        table.add({"title": title, "ms": ms, "moved": moved, "rate": rates[title], "share": share})
    return table


# ------------------------------------------------------------ over a broker


async def nodes_mb_per_s(url: str, size: int, seconds: float) -> float:
    """Models that arrive, all with all, where each node publishes the next when one has gone."""
    names = [f"n{k}" for k in range(DEGREE + 1)]
    vector = np.ones(size, np.float32)
    vector.setflags(write=False)
    async with AsyncExitStack() as stack:
        transports = [
            await stack.enter_async_context(p2pfl.MqttTransport(url, run="wire-1", node=name))
            for name in names
        ]
        members = [
            Membership(
                neighbours=[NodeId(n) for n in names if n != name],
                schema="abc",
                dimension=size,
                digest="beef",
            )
            for name in names
        ]
        lives = await asyncio.gather(
            *(t.join(member) for t, member in zip(transports, members, strict=True))
        )

        async def publish(transport: p2pfl.MqttTransport, life: Incarnation) -> None:
            version = 0
            while True:
                version += 1
                header = Header(
                    "wire-1", "abc", transport.node, life, version, version, version, monotonic()
                )
                transport.publish(ModelMessage(header, vector))
                await transport.flush(60.0)

        async def read(transport: p2pfl.MqttTransport) -> None:
            while True:
                await transport.receive()

        jobs = [publish(t, life) for t, (life, _) in zip(transports, lives, strict=True)]
        async with at_work([*jobs, *(read(t) for t in transports)]):
            return await rate(lambda: sum(t.traffic.in_bytes for t in transports), seconds)


async def clients_mb_per_s(port: int, size: int, seconds: float) -> float:
    """The same packets between clients of the library, which do nothing with them."""
    received = 0
    parts = -(-4 * size // CHUNK_BYTES)
    payload = bytes(4 * size // parts)

    class Sink(asyncio.Queue[aiomqtt.Message]):
        def put_nowait(self, item: aiomqtt.Message) -> None:
            nonlocal received
            assert isinstance(item.payload, bytes)
            received += len(item.payload)

    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                aiomqtt.Client("127.0.0.1", port, socket_options=AT_ONCE, queue_type=Sink)
            )
            for _ in range(DEGREE + 1)
        ]
        for own, client in enumerate(clients):
            for other in range(DEGREE + 1):
                if other != own:
                    await client.subscribe(f"bare/{other}/#", qos=0)

        async def publish(own: int, client: aiomqtt.Client) -> None:
            slot = 0
            while True:
                slot = 1 - slot
                topics = [f"bare/{own}/{slot}/{part}" for part in range(parts)]
                await asyncio.gather(
                    *(client.publish(topic, payload, qos=1, retain=True) for topic in topics)
                )

        async with at_work([publish(own, client) for own, client in enumerate(clients)]):
            return await rate(lambda: received, seconds)


@asynccontextmanager
async def at_work(jobs: list[object]) -> AsyncIterator[None]:
    """These coroutines run inside, and end."""
    tasks = [asyncio.ensure_future(job) for job in jobs]  # type: ignore[call-overload] # coroutines
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def rate(count: Callable[[], int], seconds: float) -> float:
    """Megabytes per second, after a warm-up."""
    await asyncio.sleep(seconds / 5)
    before, begun_s = count(), perf_counter()
    await asyncio.sleep(seconds)
    return 1e-6 * (count() - before) / (perf_counter() - begun_s)


async def over(engine: Engine, seconds: float, who: str) -> float:
    """MB/s over a new broker."""
    async with p2pfl.EmbeddedBroker(engine) as broker:
        if who == "nodes":
            return await nodes_mb_per_s(broker.url, SMALL, seconds)
        return await clients_mb_per_s(broker.port, SMALL, seconds)


def apart(engine: Engine, seconds: float, who: str, *, kept: bool) -> float:
    """The same in a process of its own; `kept`: with the memory of a node's process."""
    words = ["--over", engine, str(seconds), who, "kept" if kept else "given back"]
    return measure_apart(this_script(*words), timeout_s=60.0 + 3 * seconds)["mb_per_s"]


def answer(engine: Engine, seconds: str, who: str, memory: str) -> None:
    """Be that process."""
    if memory == "kept":
        keep_freed_memory()
    found = asyncio.run(over(engine, float(seconds), who))
    print(json.dumps({"mb_per_s": found}))


def broker_table(engines: tuple[Engine, ...], seconds: float) -> Table:
    """MB/s that arrive at all nodes together, and how much of that of bare clients it is."""
    table = Table(
        f"transport: {DEGREE + 1} nodes of degree {DEGREE}, models of 1 MB",
        [
            Column("title", "broker"),
            Column("bare", "MB/s of bare clients"),
            Column("bare_kept", "the same, freed memory kept"),
            Column("nodes_given", "MB/s of nodes without that"),
            Column("nodes", "MB/s of nodes"),
            Column("share", "% of bare clients"),
        ],
    )
    table.open()
    for engine in engines:
        try:
            row = {
                key: apart(engine, seconds, who, kept=kept)
                for key, who, kept in (
                    ("bare", "clients", False),
                    ("bare_kept", "clients", True),
                    ("nodes_given", "nodes", False),
                    ("nodes", "nodes", True),
                )
            }
        except FailedError as problem:
            table.note(f"{engine}: {problem}.")
            continue
        table.add({"title": engine, **row, "share": 100 * row["nodes"] / row["bare"]})
    return table


# ------------------------------------------------------------ the command


def help_table(repeats: int) -> Table:
    """How long `p2pfl --help` takes from the shell's side, next to an empty Python."""
    table = Table("help", [Column("title", "command"), Column("ms", "ms")])
    table.open()
    commands = {"python -c pass": ["-c", "pass"], "p2pfl --help": ["-m", "p2pfl", "--help"]}
    for title, words in commands.items():
        run = partial(subprocess.run, [sys.executable, *words], check=True, capture_output=True)
        table.add({"title": title, "ms": median_ms(run, repeats)})
    return table


def main() -> None:
    """Print and keep the tables."""
    if sys.argv[1:2] == ["--over"]:
        answer(*sys.argv[2:])  # type: ignore[arg-type] # words of our own
        return
    quick = "--quick" in sys.argv
    size, repeats, seconds = (LARGE // 10, 3, 2.0) if quick else (LARGE, REPEATS, 10.0)
    now = conditions()
    for table in (
        frame_table(size, repeats),
        mix_table(size, repeats),
        broker_table(("nats", "mosquitto"), seconds),
        help_table(repeats),
    ):
        keep(table, conditions=now)


if __name__ == "__main__":
    main()
