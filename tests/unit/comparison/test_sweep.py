"""A sweep's grid, its estimates, its folder, its table and its page."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.experiments import quadratic_experiment

from p2pfl.comparison.sweep_cell import CellResult, cell_result, result_from_object
from p2pfl.comparison.sweep_folder import SweepFolder, new_sweep_folder
from p2pfl.comparison.sweep_grid import Grid, GridAxis, make_grid, parse_axis
from p2pfl.comparison.sweep_table import Sweep, band, estimate
from p2pfl.comparison.sweep_text import sweep_csv, sweep_json, sweep_text
from p2pfl.errors import ConfigError, DataError
from p2pfl.report.sweep_page import sweep_html
from p2pfl.results.record import RunResult

EXPERIMENT = quadratic_experiment(nodes=4, slow=2, time_s=10.0)


def grid_of(*settings: str, seeds: int = 2) -> Grid:
    return make_grid(EXPERIMENT, [parse_axis(text) for text in settings], seeds=range(seeds))


@pytest.fixture
def make_cell(make_result: Callable[..., RunResult]) -> Callable[..., CellResult]:
    def make(*, accuracy: float = 0.9, **parts: object) -> CellResult:
        result = make_result(accuracies=(0.1, 0.5 * accuracy, accuracy))
        return replace(cell_result(result, wall_s=0.5), **parts)  # type: ignore[arg-type]  # a test names what it changes

    return make


def swept(grid: Grid, accuracies: list[float], make_cell: Callable[..., CellResult]) -> Sweep:
    cells = zip(grid.cells, accuracies, strict=True)
    results = {
        cell.key: make_cell(accuracy=accuracy, digest=grid.points[cell.place].digest)
        for cell, accuracy in cells
    }
    return Sweep(grid=grid, results=results, failures={})


# ------------------------------------------------------------ the grid


@pytest.mark.parametrize(
    ("text", "key", "values"),
    [
        ("network.loss=0,0.1", "network.loss", (0, 0.1)),
        ("model.hidden=[32],[64,64]", "model.hidden", ([32], [64, 64])),
        ("topology=ring,torus", "topology", ("ring", "torus")),
        ('data="a,b",c', "data", ("a,b", "c")),
        ("staleness={policy='drop', bound=2},{policy='none'}", "staleness",
         ({"policy": "drop", "bound": 2}, {"policy": "none"})),
        ("evaluation.target=", "evaluation.target", (None,)),
        ("stop.steps = 5", "stop.steps", (5,)),
    ],
)  # fmt: skip
def test_an_axis_is_read_as_toml_values_between_commas(
    text: str, key: str, values: tuple[object, ...]
) -> None:
    assert parse_axis(text) == GridAxis(key=key, values=values)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("network.loss", "KEY=VALUE"),
        ("network.loss=0,,1", "nothing between two commas"),
        ("network.loss=0.1,0.1", "0.1 stands twice"),
        ("model.hidden=[32,[64]", "] is missing"),
        ("data='a,b", "' is missing"),
    ],
)
def test_an_axis_that_is_none_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_axis(text)
    assert reason in str(refused.value)


def test_a_grid_is_every_combination_under_every_seed() -> None:
    grid = grid_of("network.loss=0,0.1", "training.learning_rate=0.1,0.2,0.3", seeds=2)
    assert [point.title for point in grid.points][:2] == [
        "loss 0, learning_rate 0.1",
        "loss 0, learning_rate 0.2",
    ]
    assert len(grid.cells) == len({cell.key for cell in grid.cells}) == 12
    found = {
        (c.experiment.config.network.loss, c.experiment.config.training.learning_rate,
         c.experiment.config.seed)
        for c in grid.cells
    }  # fmt: skip
    assert len(found) == 12
    # All points are seen once before any is seen twice: an early look shows the whole grid.
    assert [cell.place for cell in grid.cells[:6]] == list(range(6))


def test_one_value_changes_the_experiment_and_is_in_no_title() -> None:
    grid = grid_of("network.loss=0.2", "topology=ring,complete")
    assert [point.title for point in grid.points] == ["topology ring", "topology complete"]
    assert {point.config.network.loss for point in grid.points} == {0.2}
    assert [axis.key for axis in grid.varying] == ["topology"]


def test_a_graph_family_keeps_the_number_of_nodes() -> None:
    grid = grid_of("topology=ring,complete")
    assert [p.config.topology.kind for p in grid.points] == ["ring", "complete"]
    assert {p.config.topology.nodes for p in grid.points} == {4}


def test_algorithms_bring_their_own_waiting() -> None:
    grid = grid_of("staleness.policy=none", "algorithm.kind=pull_mix,local")
    assert [point.title for point in grid.points] == ["PullMix", "local only"]
    lag = quadratic_experiment(nodes=4, staleness={"policy": "drop", "metric": "lag"})
    both = make_grid(lag, [GridAxis(key="algorithm.kind", values=("dpsgd",))])
    assert both.points[0].config.staleness.metric == "missed"


def test_values_that_look_alike_have_different_titles() -> None:
    values = ("a/ring.toml", "b/ring.toml")
    grid = make_grid(EXPERIMENT, [GridAxis(key="topology", values=values)])
    assert len({point.title for point in grid.points}) == 2


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (["network.los=0,1"], "did you mean"),
        (["network.loss=0,2"], "loss 2"),
        (["seed=1,2"], "--seeds"),
        (["network.loss=0", "network.loss=1"], "stands twice"),
        (["algorithm.kind=pull_mix,fedpox"], "fedpox"),
    ],
)
def test_a_grid_with_an_impossible_point_is_refused_before_anything_runs(
    settings: list[str], reason: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        grid_of(*settings)
    assert reason in str(refused.value)


def test_a_grid_that_nobody_means_is_refused() -> None:
    values = tuple(range(1, 400))
    axes = [GridAxis(key=key, values=values) for key in ("stop.steps", "data.dimension")]
    with pytest.raises(ConfigError, match="159,201 runs"):
        make_grid(EXPERIMENT, axes)
    with pytest.raises(ConfigError, match="at least one"):
        make_grid(EXPERIMENT, [], seeds=())
    with pytest.raises(ConfigError, match="no value"):
        make_grid(EXPERIMENT, [GridAxis(key="network.loss", values=())])


def test_the_digest_is_of_the_experiments_and_seeds_and_of_a_graph_file_by_content(
    tmp_path: Path,
) -> None:
    assert grid_of("network.loss=0,0.1").digest == grid_of("network.loss=0,0.1").digest
    assert grid_of("network.loss=0,0.1").digest != grid_of("network.loss=0,0.2").digest
    assert grid_of("network.loss=0,0.1").digest != grid_of("network.loss=0,0.1", seeds=3).digest
    file = tmp_path / "graph.txt"
    file.write_text("a b\n")
    before = grid_of(f"topology={file}").digest
    file.write_text("a b\nb c\n")
    assert grid_of(f"topology={file}").digest != before


# ------------------------------------------------------------ estimates


@pytest.mark.parametrize(("count", "quantile"), [(2, 12.706), (3, 4.303), (5, 2.776), (31, 2.042)])
def test_the_interval_is_students(count: int, quantile: float) -> None:
    """The quantiles as Student's table has them."""
    values = [float(value) for value in np.random.default_rng(count).normal(size=count)]
    found = estimate(values)
    half = quantile * np.std(values, ddof=1) / np.sqrt(count)
    assert found.low == pytest.approx(np.mean(values) - half, rel=1e-3)
    assert found.high == pytest.approx(np.mean(values) + half, rel=1e-3)
    assert found.seeds == count


def test_one_seed_has_no_interval() -> None:
    assert (estimate([0.5]).low, estimate([0.5]).high) == (None, None)


def test_the_interval_holds_the_truth_in_nineteen_of_twenty_cases() -> None:
    rng = np.random.default_rng(0)
    intervals = [estimate(list(rng.normal(3.0, 2.0, size=4))) for _ in range(2000)]
    held = np.mean([e.low <= 3.0 <= e.high for e in intervals if e.low and e.high])
    assert held == pytest.approx(0.95, abs=0.015)


def test_a_band_is_the_interval_at_each_time(make_cell: Callable[..., CellResult]) -> None:
    done = swept(grid_of(seeds=3), [0.7, 0.8, 0.9], make_cell)
    found = band(done.rows[0], lambda point: point.accuracy_mean)
    assert found is not None
    at_end = estimate([0.7, 0.8, 0.9])
    assert found.at.tolist() == [0.0, 1.0, 2.0]
    assert (found.low[-1], found.high[-1]) == pytest.approx((at_end.low, at_end.high))
    assert (found.low[0], found.high[0]) == pytest.approx((0.1, 0.1))  # all seeds begin alike


def test_a_band_ends_where_the_shortest_run_does(make_cell: Callable[..., CellResult]) -> None:
    done = swept(grid_of(seeds=2), [0.7, 0.8], make_cell)
    (key, result), *_ = done.results.items()
    short = replace(result, curve=result.curve[:2])
    found = band(
        replace(done, results={**done.results, key: short}).rows[0],
        lambda point: point.accuracy_mean,
    )
    assert found is not None
    assert found.at.tolist() == [0.0, 1.0]


# ------------------------------------------------------------ what is shown


def test_the_table_has_a_row_per_point_with_mean_and_interval(
    make_cell: Callable[..., CellResult],
) -> None:
    grid = grid_of("network.loss=0,0.1", seeds=2)
    done = swept(grid, [0.90, 0.50, 0.92, 0.60], make_cell)
    first, second = done.rows
    # t = 12.706 with one degree of freedom, s / sqrt(2) = 0.01.
    assert first.cells["mean"].text == "91.0 ± 12.7"
    assert second.cells["mean"].text == "55.0 ± 63.5"
    assert done.target == pytest.approx(0.874)
    assert first.cells["time_to_target_s"].text == "2"
    assert second.cells["time_to_target_s"].text == "never"
    assert first.cells["staleness_max"].text == "0.5 of 3 periods missed"
    text = sweep_text(done)
    assert "loss 0.1" in text
    assert "95 % confidence" in text


def test_a_target_that_not_all_seeds_reach_has_no_estimate(
    make_cell: Callable[..., CellResult],
) -> None:
    done = swept(grid_of(seeds=2), [0.9, 0.5], make_cell)
    cell = done.rows[0].cells["time_to_target_s"]
    assert cell.text == "2 (1 of 2)"
    assert cell.estimate is None


def test_tidy_data_has_a_row_per_run_also_of_those_that_failed(
    make_cell: Callable[..., CellResult],
) -> None:
    grid = grid_of("network.loss=0,0.1", seeds=2)
    done = swept(grid, [0.90, 0.50, 0.92, 0.60], make_cell)
    lost = grid.cells[-1].key
    results = {key: result for key, result in done.results.items() if key != lost}
    done = replace(done, results=results, failures={lost: "no, really"})
    rows = list(csv.DictReader(io.StringIO(sweep_csv(done))))
    assert [(row["network.loss"], row["seed"], row["status"]) for row in rows] == [
        ("0", "0", "done"), ("0.1", "0", "done"), ("0", "1", "done"), ("0.1", "1", "failed"),
    ]  # fmt: skip
    assert float(rows[0]["accuracy_mean"]) == 0.90
    assert rows[3]["accuracy_mean"] == ""
    assert rows[3]["failure"] == "no, really"
    assert "loss 0.1, seed 1: no, really" in sweep_text(done)
    assert done.rows[1].cells["seeds"].text == "1 of 2"


def test_json_has_every_estimate_and_the_bands(make_cell: Callable[..., CellResult]) -> None:
    done = swept(grid_of("network.loss=0,0.1", seeds=1), [0.9, 0.5], make_cell)
    found = json.loads(sweep_json(done))
    first = found["points"][0]
    assert first["values"] == {"network.loss": 0}
    assert first["cells"]["mean"]["mean"] == 0.9
    assert first["cells"]["mean"]["low"] is None
    assert first["curve"]["low"] == [None, None, None]


def test_the_page_shows_the_table_the_bands_and_what_failed(
    make_cell: Callable[..., CellResult],
) -> None:
    grid = grid_of("network.loss=0,0.1", "topology=ring,complete", seeds=2)
    done = swept(grid, [0.9, 0.8, 0.7, 0.6] * 2, make_cell)
    lost = grid.cells[0].key
    page = sweep_html(replace(done, failures={lost: "<b>bad</b>"}))
    assert page.count("<figure") == 3
    assert "Student&#x27;s t" in page
    assert "&lt;b&gt;bad&lt;/b&gt;" in page
    assert "<b>bad" not in page
    assert page.count("loss 0.1, topology complete") >= 3


def test_many_points_are_cut_into_charts_by_the_first_axes(
    make_cell: Callable[..., CellResult],
) -> None:
    grid = grid_of("network.loss=0,0.1,0.2", "data.dimension=1,2,3,4", seeds=1)
    page = sweep_html(swept(grid, [0.5] * 12, make_cell))
    assert [page.count(f"Accuracy over time: loss {loss}</h3>") for loss in ("0", "0.1")] == [1, 1]
    line = grid_of("data.dimension=1,2,3,4,5,6,7,8,9", seeds=1)
    page = sweep_html(swept(line, [0.5] * 9, make_cell))
    assert page.count("Accuracy over time") >= 2


def test_a_page_of_nothing_but_failures_is_a_page() -> None:
    grid = grid_of(seeds=1)
    done = Sweep(grid=grid, results={}, failures={grid.cells[0].key: "no data"})
    assert "no data" in sweep_html(done)
    assert "no data" in sweep_text(done)


# ------------------------------------------------------------ the folder


def test_results_are_read_back_as_they_were_written(
    tmp_path: Path, make_cell: Callable[..., CellResult]
) -> None:
    grid = grid_of("network.loss=0,0.1", "staleness.bound=2,3", seeds=1)
    done = swept(grid, [0.9, 0.8, 0.7, 0.6], make_cell)
    folder = new_sweep_folder(tmp_path, grid)
    for key, result in done.results.items():
        folder.write_cell(key, result)
    assert SweepFolder(folder.path).read_cells(grid) == done.results
    saved = folder.saved()
    assert make_grid(EXPERIMENT, saved.axes, seeds=saved.seeds).digest == grid.digest
    folder.check(grid)


def test_a_torn_or_foreign_result_counts_as_missing(
    tmp_path: Path, make_cell: Callable[..., CellResult]
) -> None:
    grid = grid_of("network.loss=0,0.1,0.2", seeds=1)
    folder = new_sweep_folder(tmp_path, grid)
    first, second, third = grid.cells
    for cell in grid.cells:
        folder.write_cell(cell.key, make_cell(digest=grid.points[cell.place].digest))
    file = folder.path / "cells" / f"{first.key}.json"
    file.write_text(file.read_text()[:100])
    folder.write_cell(second.key, make_cell(digest="of another"))
    assert set(folder.read_cells(grid)) == {third.key}


def test_a_failure_is_kept_until_the_run_is_done(
    tmp_path: Path, make_cell: Callable[..., CellResult]
) -> None:
    grid = grid_of(seeds=1)
    folder, key = new_sweep_folder(tmp_path, grid), grid.cells[0].key
    folder.write_failure(key, "no data", "Traceback ...")
    (file,) = (folder.path / "failures").iterdir()
    assert file.read_text() == "no data\n\nTraceback ...\n"
    folder.write_cell(key, make_cell())
    assert not file.exists()


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (
            make_grid(
                quadratic_experiment(nodes=4, slow=2, time_s=20.0),
                [parse_axis("network.loss=0,0.1")],
                seeds=range(2),
            ),
            "stop.time_s was 10.0 there and is 20.0 now",
        ),
        (grid_of("network.loss=0,0.1", seeds=3), "its seeds were [0, 1] and are [0, 1, 2] now"),
        (grid_of("network.loss=0,0.2"), "its grid had 2 points"),
    ],
)
def test_a_changed_experiment_is_refused_with_what_changed(
    tmp_path: Path, now: Grid, reason: str
) -> None:
    folder = new_sweep_folder(tmp_path, grid_of("network.loss=0,0.1"))
    with pytest.raises(ConfigError) as refused:
        folder.check(now)
    assert reason in str(refused.value)


def test_what_is_no_sweep_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no sweep"):
        SweepFolder(tmp_path).saved()
    for text in ("{", '{"format": 99}', '{"format": 1, "axes": 3}'):
        (tmp_path / "grid.json").write_text(text)
        with pytest.raises(DataError, match=r"grid\.json"):
            SweepFolder(tmp_path).saved()
    with pytest.raises(DataError, match="no result"):
        result_from_object([], where="there")
