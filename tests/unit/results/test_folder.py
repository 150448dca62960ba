"""A run's folder is written whole, read back equal, and refused when it is torn."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from p2pfl.config.load import load_config
from p2pfl.errors import ConfigError, DataError
from p2pfl.results.folder import new_run_folder, read_run, write_run
from p2pfl.results.record import RunResult

MakeResult = Callable[..., RunResult]


def test_a_run_comes_back_as_it_was_written(make_result: MakeResult, tmp_path: Path) -> None:
    result = make_result(
        accuracies=(None, None),
        staleness_bound=float("inf"),
        notes=("paced, with ünicode",),
    )
    write_run(result, tmp_path)
    back = read_run(tmp_path)
    assert replace(back, served={}) == replace(result, served={})
    assert back.served.keys() == result.served.keys()
    for node, vector in result.served.items():
        np.testing.assert_array_equal(back.served[node], vector)


def test_nan_losses_of_dead_nodes_survive(make_result: MakeResult, tmp_path: Path) -> None:
    result = make_result()
    dead = replace(result.samples[0], loss=float("nan"), alive=False)
    write_run(replace(result, samples=(dead,)), tmp_path)
    (sample,) = read_run(tmp_path, models=False).samples
    assert np.isnan(sample.loss)
    assert not sample.alive


def test_the_experiment_in_the_folder_runs_again(make_result: MakeResult, tmp_path: Path) -> None:
    result = make_result()
    write_run(result, tmp_path)
    assert load_config(tmp_path / "experiment.toml") == result.config


def test_a_model_says_what_it_is_and_how_to_cut_it(make_result: MakeResult, tmp_path: Path) -> None:
    write_run(make_result(), tmp_path, layout=(("weight", (2, 2)),))
    with safe_open(tmp_path / "models" / "n1.safetensors", framework="numpy") as file:
        about = file.metadata()
    assert about["node"] == "n1"
    assert about["algorithm"] == "PullMix"
    assert json.loads(about["layout"]) == [["weight", [2, 2]]]


def test_the_summary_states_the_largest_staleness_and_its_bound(
    make_result: MakeResult, tmp_path: Path
) -> None:
    write_run(make_result(), tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert (summary["staleness_max"], summary["staleness_bound"]) == (0.5, 3.0)
    assert summary["final"]["accuracy_mean"] == 0.9
    assert "numpy" in summary["versions"]


def test_nothing_unfinished_is_left_behind(make_result: MakeResult, tmp_path: Path) -> None:
    write_run(make_result(), tmp_path)
    names = {file.name for file in tmp_path.rglob("*") if file.is_file()}
    assert names == {
        "experiment.toml",
        "metrics.jsonl",
        "summary.json",
        "n0.safetensors",
        "n1.safetensors",
        "n2.safetensors",
    }


def test_a_run_written_anew_has_no_summary_until_it_is_whole(
    make_result: MakeResult, tmp_path: Path
) -> None:
    write_run(make_result(), tmp_path)
    (tmp_path / "metrics.jsonl").unlink()
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        write_run(make_result(), tmp_path)
    assert not (tmp_path / "summary.json").exists()


def test_new_folders_are_never_shared(tmp_path: Path) -> None:
    folders = {new_run_folder(tmp_path / "runs", "digits") for _ in range(3)}
    assert len(folders) == 3
    assert all(folder.name.startswith("digits-2") for folder in folders)


def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    root.write_text("not a folder", encoding="utf-8")
    with pytest.raises(ConfigError, match="runs"):
        new_run_folder(root, "digits")


def test_a_folder_that_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no run"):
        read_run(tmp_path)
    with pytest.raises(DataError, match="is no run"):
        read_run(tmp_path / "missing")
    (tmp_path / "experiment.toml").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="has not ended"):
        read_run(tmp_path)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


def _drop_line(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(lines[:-1]), encoding="utf-8")


def _other_kind(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('"kind":"node"', '"kind":"nude"', 1), encoding="utf-8")


def _newer(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('"format": 1', '"format": 99'), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "damage", "sentence"),
    [
        ("summary.json", _cut, "summary.json: cannot be read"),
        ("summary.json", _newer, "has format 99; this version reads 1"),
        ("metrics.jsonl", _cut, "metrics.jsonl: line 12: is no JSON"),
        ("metrics.jsonl", _drop_line, "is torn: it has 11 lines of 12"),
        ("metrics.jsonl", _other_kind, "line 1: kind is 'nude'"),
        ("metrics.jsonl", Path.unlink, "metrics.jsonl: cannot be read"),
        ("experiment.toml", _cut, "its experiment cannot be read"),
        ("models/n1.safetensors", _cut, "n1.safetensors: is torn"),
        ("models/n1.safetensors", Path.unlink, "holds 2 models of 3"),
    ],
)
def test_a_damaged_run_is_refused_with_the_file(
    make_result: MakeResult,
    tmp_path: Path,
    name: str,
    damage: Callable[[Path], object],
    sentence: str,
) -> None:
    write_run(make_result(), tmp_path)
    damage(tmp_path / name)
    with pytest.raises(DataError) as refused:
        read_run(tmp_path)
    assert sentence in str(refused.value)


def test_folders_may_be_named_by_plain_words(make_result: MakeResult, tmp_path: Path) -> None:
    folder = new_run_folder(str(tmp_path), "run")
    write_run(make_result(), str(folder))
    assert read_run(str(folder)).name == make_result().name
