"""The table says what each run reached and what it cost, and flatters none."""

import json
from collections.abc import Callable
from dataclasses import replace
from io import StringIO

import pytest

from p2pfl.comparison.render import fitting, json_text, plain_text, rich_tables
from p2pfl.comparison.table import compare, table_of
from p2pfl.errors import DataError
from p2pfl.results.record import RunResult

MakeResult = Callable[..., RunResult]


def _seeds(run: RunResult, *accuracies: float) -> list[RunResult]:
    """The run with other seeds, which end at these accuracies."""
    return [
        replace(
            run,
            seed=seed,
            config=replace(run.config, seed=seed),
            curve=(*run.curve[:-1], replace(run.curve[-1], accuracy_mean=accuracy)),
        )
        for seed, accuracy in enumerate(accuracies)
    ]


def test_several_seeds_are_told_as_mean_and_standard_deviation(make_result: MakeResult) -> None:
    table = table_of(_seeds(make_result(), 0.8, 0.9))
    (row,) = table.rows
    cell = row.cells["quality_mean"]
    assert cell.text == "85.0±7.1"
    assert cell.mean == pytest.approx(0.85)
    assert cell.spread == pytest.approx(0.0707, abs=1e-4)


def test_a_target_that_some_seeds_missed_is_told_and_wins_nothing(make_result: MakeResult) -> None:
    table = table_of(_seeds(make_result(), 0.7, 0.9))
    cell = table.rows[0].cells["time_to_target_s"]
    assert (cell.text, cell.mean) == ("2 (1/2)", None)
    never = compare(make_result(label="slow", kind="local", accuracies=(0.1, 0.2)), make_result())
    assert never.rows[0].cells["time_to_target_s"].text == "never"


def test_the_best_is_marked_and_one_machine_with_all_data_never_is(make_result: MakeResult) -> None:
    good = make_result()
    poor = make_result(label="local only", kind="local", accuracies=(0.1, 0.2, 0.3))
    central = make_result(label="centralized", accuracies=(0.1, 0.9, 0.99))
    central = replace(central, nodes=central.nodes[:1], edges=())
    table = compare(good, poor, central)
    quality = {column.key: column for column in table.quality}
    assert table.best(quality["quality_mean"]) == {"PullMix"}
    assert table.best(quality["consensus_distance"]) == frozenset()
    assert compare(good).best(quality["quality_mean"]) == frozenset()


def test_staleness_stands_beside_its_bound(make_result: MakeResult) -> None:
    free = make_result(label="FedAvg", kind="fedavg", staleness_bound=float("inf"))
    table = compare(make_result(), free)
    texts = [row.cells["staleness"].text for row in table.rows]
    assert texts == ["0.5 of 3 periods missed", "0.5, no bound"]


def test_runs_of_other_lengths_are_compared_at_equal_seconds(make_result: MakeResult) -> None:
    short = make_result(label="FedAvg", kind="fedavg", accuracies=(0.1, 0.6), duration_s=1.0)
    keys = [column.key for column in compare(make_result(), short).quality]
    assert "at_equal_seconds" in keys
    same = compare(make_result(), make_result(label="FedAvg", kind="fedavg"))
    assert "at_equal_seconds" not in [column.key for column in same.quality]
    assert "All ran for 2 virtual seconds." in same.captions[0]


def test_columns_without_a_number_are_left_out(make_result: MakeResult) -> None:
    silent = make_result(label="local only", kind="local", edges=(), accuracies=(None, None))
    table = compare(silent)
    keys = {column.key for column in (*table.quality, *table.cost)}
    assert "bytes_busiest" not in keys
    assert "time_to_target_s" not in keys
    assert "Loss (less is better)" in table.captions[0]


def test_a_crashed_node_is_told_below_the_table(make_result: MakeResult) -> None:
    run = make_result()
    crashed = replace(run.nodes[0], outcome="crashed")
    table = compare(replace(run, nodes=(crashed, *run.nodes[1:])))
    assert "Not all nodes finished: n0: crashed." in table.captions


def test_no_runs_or_runs_without_an_evaluation_are_refused(make_result: MakeResult) -> None:
    with pytest.raises(DataError, match="at least one run"):
        compare()
    with pytest.raises(DataError, match="evaluated at least once"):
        compare(make_result(curve=()))


def test_plain_text_is_aligned_and_fits_a_hundred_columns(make_result: MakeResult) -> None:
    table = compare(
        make_result(), make_result(label="FedAvg", kind="fedavg", accuracies=(0.1,) * 3)
    )
    text = str(table)
    assert text == plain_text(table)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    pull, fed = (next(line for line in lines if line.startswith(t)) for t in ("PullMix", "FedAvg"))
    assert pull.index(" 90.0") == fed.index(" 10.0")


def test_a_narrow_terminal_loses_what_says_least_and_keeps_the_accuracy(
    make_result: MakeResult,
) -> None:
    table = compare(make_result())
    assert fitting(table, table.quality, 200) == table.quality
    narrow = fitting(table, table.quality, 40)
    assert table.quality[0] in narrow
    assert len(narrow) < len(table.quality)


def test_a_terminal_shows_every_row(make_result: MakeResult) -> None:
    from rich.console import Console

    console = Console(width=100, record=True, file=StringIO())
    table = compare(make_result(), make_result(label="FedAvg [odd]", kind="fedavg"))
    console.print(rich_tables(table))
    text = console.export_text()
    assert text.count("PullMix") == 2
    assert text.count("FedAvg [odd]") == 2


def test_json_holds_every_number_and_is_strict(make_result: MakeResult) -> None:
    run = make_result(staleness_bound=float("inf"))
    found = json.loads(json_text(compare(run)), parse_constant=pytest.fail)
    (row,) = found["rows"]
    assert row["title"] == "PullMix"
    assert row["cells"]["quality_mean"]["mean"] == 0.9
    assert row["runs"][0]["staleness_bound"] == "inf"
    assert found["levels"]["work"] == 60.0
