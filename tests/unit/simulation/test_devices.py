"""When devices are awake, how fast, and how a trace is read or refused."""

import math
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.config.schema import AvailabilityConfig, ComputeConfig
from p2pfl.errors import DataError
from p2pfl.simulation.devices import Devices, Spell, devices_of, read_trace
from p2pfl.types import NodeId

A, B = NodeId("a"), NodeId("b")
SLEEPY = ComputeConfig(availability=AvailabilityConfig(on_s=4.0, off_s=1.0))


def device(*spells: tuple[float, float]) -> Devices:
    def schedule() -> Iterator[Spell]:
        return (Spell(until_s, speed) for until_s, speed in spells)

    return Devices({A: schedule})


@pytest.fixture
def trace(tmp_path: Path) -> Callable[[str], Path]:
    def write(lines: str) -> Path:
        path = tmp_path / "devices.csv"
        path.write_text(lines, encoding="utf-8")
        return path

    return write


def test_a_node_without_a_schedule_is_always_awake() -> None:
    devices = device((1.0, 0.0))
    assert devices.end_s(B, 3.0, 2.0) == 5.0
    assert devices.scheduled == (A,)


def test_work_pauses_while_the_device_sleeps() -> None:
    devices = device((10.0, 1.0), (15.0, 0.0), (math.inf, 1.0))
    assert devices.end_s(A, 2.0, 3.0) == 5.0
    assert devices.end_s(A, 8.0, 3.0) == 16.0
    assert devices.end_s(A, 8.5, 1.0) == 9.5


def test_work_goes_as_fast_as_the_device() -> None:
    devices = device((10.0, 2.0), (math.inf, 0.5))
    assert devices.end_s(A, 0.0, 4.0) == 2.0
    assert devices.end_s(A, 8.0, 5.0) == 12.0


def test_work_on_a_device_that_never_wakes_never_ends() -> None:
    devices = device((10.0, 1.0), (math.inf, 0.0))
    assert devices.end_s(A, 9.0, 1.0) == 10.0
    assert devices.end_s(A, 9.0, 1.5) == math.inf
    assert list(devices.naps(A)) == [(10.0, math.inf)]


def test_naps_that_touch_are_one() -> None:
    devices = device((1.0, 0.0), (2.0, 1.0), (3.0, 0.0), (4.0, 0.0), (math.inf, 2.0))
    assert list(devices.naps(A)) == [(0.0, 1.0), (2.0, 4.0)]


@given(
    spells=st.lists(
        st.tuples(st.floats(0.1, 5.0), st.sampled_from([0.0, 0.5, 1.0, 2.0])), max_size=8
    ),
    work=st.lists(st.tuples(st.floats(0.0, 8.0), st.floats(0.01, 9.0)), min_size=1, max_size=6),
)
def test_the_work_done_is_the_speed_over_the_time(
    spells: list[tuple[float, float]], work: list[tuple[float, float]]
) -> None:
    """Whatever was asked before; begun ever later, as in a run."""
    ends = np.cumsum([length for length, _ in spells]).tolist()
    plan = [(end, speed) for end, (_, speed) in zip(ends, spells, strict=True)]
    devices = device(*plan, (math.inf, 1.0))
    for begun_s, duration_s in sorted(work):
        end_s = devices.end_s(A, begun_s, duration_s)
        done, before_s = 0.0, 0.0
        for until_s, speed in (*plan, (math.inf, 1.0)):
            done += speed * max(0.0, min(until_s, end_s) - max(before_s, begun_s))
            before_s = until_s
        assert done == pytest.approx(duration_s)


def test_drawn_devices_sleep_as_long_and_as_often_as_asked_for() -> None:
    naps = list(islice(devices_of(SLEEPY, [A, B], seed=3).naps(A), 3000))
    asleep_s = [until_s - from_s for from_s, until_s in naps]
    assert np.mean(asleep_s) == pytest.approx(1.0, rel=0.06)
    assert sum(asleep_s) / naps[-1][1] == pytest.approx(0.2, rel=0.06)
    assert naps[0][0] > 0.0


def test_drawn_devices_differ_by_node_and_seed_and_are_drawn_alike_again() -> None:
    def first(node: NodeId, seed: int) -> tuple[float, float]:
        return next(devices_of(SLEEPY, [A, B], seed=seed).naps(node))

    assert first(A, 1) == first(A, 1)
    assert len({first(A, 1), first(B, 1), first(A, 2)}) == 3


def test_a_trace_is_read(trace: Callable[[str], Path]) -> None:
    path = trace("time_s,node,up,speed\n0,a,1,2.0\n5,b,down,\n7.5,a,0,\n9,a,true,\n")
    assert read_trace(path, [A, B]) == {
        A: (Spell(7.5, 2.0), Spell(9.0, 0.0), Spell(math.inf, 1.0)),
        B: (Spell(5.0, 1.0), Spell(math.inf, 0.0)),
    }


def test_columns_may_stand_in_any_order_and_others_beside_them(
    trace: Callable[[str], Path],
) -> None:
    path = trace("node,charging,speed,up,time_s\na,yes,1.5,1,0\n")
    assert read_trace(path, [A, B]) == {A: (Spell(math.inf, 1.5),)}


HEAD = "time_s,node,up,speed\n"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("time_s,node,up\n", "line 1: has no column speed; needed: time_s,node,up,speed"),
        ("", "line 1: has no column time_s"),
        (HEAD + "0,z,1,1\n", "line 2: names the node 'z'"),
        (HEAD + "0,a,1,1\nsoon,a,1,1\n", "line 3: time_s is 'soon'; allowed: a finite number"),
        (HEAD + "nan,a,1,1\n", "line 2: time_s is 'nan'"),
        (HEAD + "-1,a,1,1\n", "line 2: time_s of a is -1; allowed: at least 0"),
        (HEAD + "5,a,1,1\n5,a,0,1\n", "line 3: time_s of a is 5; allowed: above 5"),
        (HEAD + "0,a,maybe,1\n", "line 2: up is 'maybe'; allowed: 1 or 0"),
        (HEAD + "0,a,1,0\n", r"line 2: speed is 0; allowed: above 0 \(or up = 0\)"),
        (HEAD + "0,a,1,fast\n", "line 2: speed is 'fast'"),
        (HEAD + "0,a\n", "line 2: up is ''"),
    ],
)
def test_a_trace_that_says_nothing_sensible_is_refused_with_its_line(
    trace: Callable[[str], Path], lines: str, words: str
) -> None:
    with pytest.raises(DataError, match=rf"devices\.csv, {words}"):
        read_trace(trace(lines), [A, B])


def test_a_trace_that_is_missing_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv: no such file, and compute\.trace names it"):
        devices_of(ComputeConfig(trace=str(tmp_path / "none.csv")), [A], seed=0)
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"bytes\.csv: cannot be read"):
        read_trace(tmp_path / "bytes.csv", [A])
