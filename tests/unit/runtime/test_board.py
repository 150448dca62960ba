"""What the starting process makes of reports: lives added up, a curve, and a table."""

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from p2pfl.config.load import config_from_mapping
from p2pfl.errors import ProtocolError
from p2pfl.experiment import Experiment
from p2pfl.messages import Incarnation, Presence, PresenceState
from p2pfl.results.record import NodeSample, NodeTotals
from p2pfl.runtime.board import FRESH_S, LOST, Board
from p2pfl.runtime.jobs import Legacy
from p2pfl.runtime.rows import OnTheWay, Report, from_row, to_row, to_transfers_row
from p2pfl.runtime.table import LiveTable, line_of, table_of
from p2pfl.types import NodeId

N0, N1, N2 = NodeId("n0"), NodeId("n1"), NodeId("n2")


def board() -> Board:
    table = {
        "name": "small",
        "topology": {"kind": "ring", "nodes": 3},
        "data": "quadratic",
        "model": "quadratic",
        "training": {"learning_rate": 0.05, "local_steps": 1},
        "stop": {"time_s": 3.0},
        "evaluation": {"every_s": 1.0},
    }
    return Board(Experiment(config_from_mapping(table, source="test")))


def slow(peer: str, done_mb: int, mb_per_s: float) -> OnTheWay:
    return OnTheWay(
        peer=peer, done_bytes=done_mb * 10**6, total_bytes=99 * 10**6, bytes_per_s=mb_per_s * 1e6
    )


def test_slow_transfers_are_shown_the_longest_first_and_those_of_the_dead_no_more() -> None:
    seen = board()
    seen.now_s = 3.0
    seen.hear(N0, to_transfers_row([slow("n1", 54, 2.5), slow("", 12, 1.0)]))
    seen.hear(N2, to_transfers_row([slow("n1", 98, 0.0)]))
    shown = [
        "n2 <- n1 98 of 99 MB, nothing comes",
        "n0 -> 12 of 99 MB, 87 s to go",
        "n0 <- n1 54 of 99 MB, 18 s to go",
    ]
    assert seen.on_the_way == shown
    assert line_of(seen).endswith("  n2 <- n1 98 of 99 MB, nothing comes (and 2 more)")
    assert table_of(seen).caption == "\n".join(shown)
    seen.lose(N2, 3.5, phase=LOST, note="n2 is gone")
    assert seen.on_the_way == shown[1:]
    seen.now_s = 3.0 + FRESH_S + 0.1
    assert seen.on_the_way == []
    seen.hear(N0, to_transfers_row([slow("n1", 54, 2.5)]))
    assert seen.on_the_way == shown[2:]
    seen.hear(N0, to_transfers_row([]))
    assert seen.on_the_way == []
    assert table_of(seen).caption is None


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        "3",
        "[3]",
        '[{"peer": "n1"}]',
        '[{"peer": "\\u001b[2J", "done_bytes": 1, "total_bytes": 2, "bytes_per_s": 1.0}]',
        '[{"peer": "n1", "done_bytes": 3, "total_bytes": 2, "bytes_per_s": 1.0}]',
        '[{"peer": "n1", "done_bytes": 1, "total_bytes": 2, "bytes_per_s": "nan"}]',
    ],
)
def test_nonsense_about_transfers_shows_nothing(text: str) -> None:
    seen = board()
    seen.hear(N0, {"transfers": text})
    assert seen.on_the_way == []


def test_who_was_held_back_by_the_way_of_its_models_is_noted_with_what_to_change() -> None:
    seen = board()
    for node, way_s, period_s in ((N0, 40.0, 1.0), (N1, 1.0, 1.0), (N2, 1.5, 1.04)):
        slower = replace(totals(node, 3), way_s=way_s, period_s=period_s)
        seen.hear(node, to_row(replace(report(node, 1.0, 3), totals=slower)))
    (note,) = seen.result(duration_s=3.0, wall_s=4.0).notes
    assert note == (
        "models were longer on their way than an update takes (n0 40 s, update every 1 s; n2 1.5 s,"
        " update every 1 s): the same old ones were mixed again and again, which holds training"
        " back; raise training.local_steps to 40 times what it is, or set network.codec ="
        ' "bfloat16", or choose a sparser topology'
    )


def totals(node: NodeId, steps: int, *, staleness: float = 0.5) -> NodeTotals:
    return NodeTotals(
        node=node,
        versions=steps,
        steps=steps,
        samples=steps,
        mixes=steps,
        staleness_max=staleness,
        staleness_mean=staleness / 2,
        age_max_s=0.1,
        left_out=1,
        out_bytes=100 * steps,
        in_bytes=200 * steps,
        fan_out_bytes=200 * steps,
        control_bytes=7,
        out_messages=steps,
        in_messages=steps,
        refused={"n9: stranger": 2},
    )


def report(
    node: NodeId, at_s: float, steps: int, *, life: int = 1, accuracy: float | None = 0.5
) -> Report:
    sample = NodeSample(
        at_s=at_s,
        node=node,
        version=steps,
        steps=steps,
        loss=1.0,
        accuracy=accuracy,
        per_class=(0.25, float("nan")),
        staleness_max=0.5,
        out_bytes=100 * steps,
        in_bytes=200 * steps,
    )
    return Report(
        sample=sample, totals=totals(node, steps), phase="training", life=life, eval_s=0.01
    )


def test_a_report_survives_its_line_bit_by_bit() -> None:
    one = report(N0, 1.0 / 3.0, 7)
    row = to_row(one)
    assert all(value is None or isinstance(value, str | int | float) for value in row.values())
    assert to_row(from_row(row)) == row
    assert from_row(row).totals == one.totals


def test_a_node_tells_nobody_how_many_samples_of_each_class_it_holds() -> None:
    one = report(N0, 1.0, 7)
    row = to_row(replace(one, totals=replace(one.totals, labels=(3, 4))))
    assert row == to_row(one)


@pytest.mark.parametrize("key", ["steps", "per_class", "refused", "phase", "at_s"])
def test_a_line_of_nonsense_is_refused(key: str) -> None:
    row = dict(to_row(report(N0, 1.0, 7)))
    del row[key]
    with pytest.raises(ProtocolError):
        from_row(row)


def test_nonsense_and_lines_in_anothers_name_change_nothing() -> None:
    seen = board()
    seen.hear(N0, {"x": 1})
    seen.hear(N1, to_row(report(N0, 1.0, 7)))
    seen.hear(NodeId("stranger"), to_row(report(N0, 1.0, 7)))
    assert not any(standing.reports for standing in seen.standings.values())


def test_all_are_there_once_each_has_joined() -> None:
    seen = board()
    for number, node in enumerate((N0, N1, N2), start=1):
        assert not seen.all_are_there
        state = PresenceState.JOINING
        seen.hear(node, Presence("small-1", node, Incarnation(number, 0), state))
    assert seen.all_are_there


def test_a_node_that_comes_back_goes_on_counting() -> None:
    seen = board()
    seen.hear(N0, to_row(report(N0, 0.0, 0)))
    seen.hear(N0, to_row(report(N0, 1.0, 10)))
    seen.lose(N0, 1.4, phase="lost", note="n0 was killed")
    seen.revive(N0, 2.2)
    seen.hear(N0, to_row(report(N0, 3.0, 4, life=2)))
    standing = seen.standings[N0]
    assert standing.reports[-1].sample.steps == 14
    assert standing.totals().out_bytes == 1400
    assert standing.totals().refused == {"n9: stranger": 4}
    assert [standing.was_alive(at_s) for at_s in (1.0, 2.0, 3.0)] == [True, False, True]


def test_a_late_line_of_an_earlier_life_is_forgotten() -> None:
    seen = board()
    seen.hear(N0, to_row(report(N0, 2.0, 4, life=2)))
    seen.hear(N0, to_row(report(N0, 1.0, 10, life=1)))
    assert len(seen.standings[N0].reports) == 1


def test_the_curve_has_a_point_per_evaluation_and_leaves_out_the_dead() -> None:
    seen = board()
    for node, accuracy in ((N0, 0.1), (N1, 0.5), (N2, 0.9)):
        for k in range(3):
            seen.hear(node, to_row(report(node, k + 0.02, 10 * k, accuracy=accuracy)))
    seen.lose(N0, 1.5, phase="lost", note="n0 was killed")
    curve = seen.curve(3.0)
    assert [point.at_s for point in curve] == [0.0, 1.0, 2.0, 3.0]
    assert curve[1].accuracy_worst == 0.1
    assert curve[2].accuracy_worst == 0.5
    assert [point.steps for point in curve[:3]] == [0, 30, 60]
    assert curve[1].bytes_total == 3 * 3000
    assert curve[1].bytes_busiest == 3000


def test_the_end_is_made_of_what_the_nodes_leave_behind() -> None:
    seen = board()
    for k, node in enumerate((N0, N1, N2)):
        seen.hear(node, to_row(report(node, 0.0, 0)))
        x = np.full(2, float(k), np.float32)
        seen.standings[node].legacy = Legacy(
            totals=totals(node, 20),
            served=x,
            public=x,
            loss=0.5,
            accuracy=0.75,
            per_class=(),
            duration_s=3.0,
            slept_s=1.5 if node == N1 else 0.0,
            missed_s=0.0,
        )
    result = seen.result(duration_s=3.0, wall_s=4.0)
    assert result.final.accuracy_mean == 0.75
    assert result.final.consensus_distance == pytest.approx(np.sqrt(4.0 / 3.0))
    assert result.driver == "runtime"
    assert list(result.served) == [N0, N1, N2]
    assert result.dimension == 2
    assert result.notes == ("paced by sleeping, of their time: n1 50%",)
    assert [one.steps for one in result.nodes] == [20, 20, 20]


def test_a_node_that_never_said_a_word_is_in_the_result_as_lost() -> None:
    seen = board()
    seen.hear(N0, to_row(report(N0, 0.0, 1)))
    seen.lose(N1, 0.0, phase="lost", note="n1 was killed")
    nodes = {one.node: one for one in seen.result(duration_s=1.0, wall_s=1.0).nodes}
    assert nodes[N1].outcome == "lost"
    assert nodes[N1].steps == 0


def test_the_table_shows_every_node_and_its_state() -> None:
    seen = board()
    seen.run, seen.now_s = "small-1", 1.0
    seen.hear(N0, to_row(report(N0, 1.0, 1234)))
    seen.lose(N1, 0.5, phase="lost", note="n1 was killed by SIGKILL at 0.5 s")
    console = Console(file=io.StringIO(), width=120)
    console.print(table_of(seen))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for word in ("n0", "training", "1234", "0.500", "n1", "lost", "n2", "starting"):
        assert word in text


def test_without_a_terminal_there_are_plain_lines_and_each_note_once() -> None:
    seen = board()
    seen.run, seen.url = "small-1", "mqtt://here:1"
    seen.hear(N0, to_row(report(N0, 1.0, 1234)))
    file = io.StringIO()
    with LiveTable(Console(file=file, width=200)) as table:
        seen.notes.append("n1 was killed by SIGKILL at 0.5 s")
        for now_s in (0.0, 0.5, 1.0, 4.0, 4.5):
            seen.now_s = now_s
            table(seen)
    lines = file.getvalue().splitlines()
    assert lines[0] == "run small-1 at mqtt://here:1, 3 processes"
    assert sum("SIGKILL" in line for line in lines) == 1
    assert len(lines) == 4
    assert "1234 steps" in line_of(seen)
