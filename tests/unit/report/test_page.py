"""The page of a run, or of many: one file, every user's word escaped, nothing from outside."""

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from p2pfl.config.load import config_from_mapping
from p2pfl.errors import ConfigError, DataError
from p2pfl.experiment import Experiment
from p2pfl.report.page import report_html, write_report
from p2pfl.results.record import RunResult
from p2pfl.simulation.simulate import simulate
from p2pfl.types import NodeId

MakeResult = Callable[..., RunResult]


class _Page(HTMLParser):
    """Headings and tags of a page; every opened element is closed."""

    VOID = ("meta", "br", "path", "use", "rect")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.seen: list[str] = []
        self.links: list[str] = []
        self.headings: list[str] = []
        self.feed(text)
        assert self.opened == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.links += [v or "" for k, v in attrs if k in {"src", "href", "xlink:href"}]
        if tag not in self.VOID:
            self.opened.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.links += [v or "" for k, v in attrs if k in {"src", "href", "xlink:href"}]

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.opened.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.opened and self.opened[-1] in {"h1", "h2", "h3"}:
            self.headings.append(data)


def test_one_run_is_shown_with_its_numbers_and_pictures(make_result: MakeResult) -> None:
    text = report_html([make_result()])
    page = _Page(text)
    assert page.headings == [
        "made-up: PullMix",
        "Pictures",
        "Accuracy over time",
        "Who talks to whom (3 nodes)",
        "Accuracy per class",
        "Staleness",
        "Bytes at every endpoint",
        "Loss over time",
        "Consensus distance",
        "Details",
    ]
    assert page.seen.count("svg") == page.seen.count("figure") == 7
    assert "Largest staleness ever mixed: 0.5 of 3 periods missed." in text
    assert "90.0 %" in text
    assert "learning_rate = 0.1" in text
    assert "n2 · " not in text


def test_many_runs_are_shown_side_by_side(make_result: MakeResult) -> None:
    runs = [make_result(), make_result(label="FedAvg", kind="fedavg", accuracies=(0.1, 0.2, 0.3))]
    page = _Page(report_html(runs, title="Both"))
    assert page.headings[0] == "Both"
    assert {"What was reached", "What it cost", "Accuracy for the same work"} <= set(page.headings)
    assert page.seen.count("table") == 2 + len(runs)


def test_slow_nodes_classes_have_a_picture_of_their_own(make_result: MakeResult) -> None:
    counts = ((9, 9), (9, 9), (99, 0))

    def known(run: RunResult) -> RunResult:
        nodes = [replace(n, labels=held) for n, held in zip(run.nodes, counts, strict=True)]
        return replace(run, nodes=tuple(nodes))

    other = make_result(label="FedAvg", kind="fedavg", accuracies=(0.1, 0.2, 0.3))
    headings = _Page(report_html([known(make_result()), known(other)])).headings
    assert "Accuracy on the slow nodes' classes" in headings


def test_nothing_comes_from_outside(make_result: MakeResult) -> None:
    text = report_html([make_result(), make_result(label="FedAvg", kind="fedavg")])
    assert all(link.startswith("#") for link in _Page(text).links)
    assert "<script" not in text
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_words_of_users_are_escaped(make_result: MakeResult) -> None:
    evil = '<script>alert(1)</script> & "quotes"'
    run = make_result(label=evil, notes=(evil,))
    crashed = replace(run.nodes[0], outcome=evil)
    run = replace(run, nodes=(crashed, *run.nodes[1:]))
    text = report_html([run, make_result()], title=evil)
    _Page(text)
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_a_loss_only_task_has_no_accuracy_on_its_page(make_result: MakeResult) -> None:
    page = _Page(report_html([make_result(accuracies=(None, None, None))]))
    assert "Loss over time" in page.headings
    assert "Accuracy per class" not in page.headings


def test_a_run_without_neighbours_has_no_graph_and_no_bytes(make_result: MakeResult) -> None:
    run = make_result(label="local only", kind="local", edges=())
    run = replace(run, nodes=tuple(replace(node, mixes=0) for node in run.nodes))
    headings = set(_Page(report_html([run])).headings)
    assert not headings & {"Who talks to whom (3 nodes)", "Bytes at every endpoint", "Staleness"}


def test_what_befell_the_nodes_is_noted(make_result: MakeResult) -> None:
    run = make_result(notes=("paced by 0.02 s",))
    first = replace(run.nodes[0], outcome="crashed", left_out=7, refused={"n1: old_version": 3})
    text = report_html([replace(run, nodes=(first, *run.nodes[1:]))])
    for words in (
        "paced by 0.02 s",
        "Not all nodes finished: n0 crashed.",
        "7 times a held model was left out",
        "3 messages were refused and dropped (old_version 3).",
    ):
        assert words in text


def test_a_thousand_nodes_still_make_a_small_page(make_result: MakeResult) -> None:
    run = make_result()
    names = [NodeId(f"n{i}") for i in range(1000)]
    nodes = tuple(replace(run.nodes[0], node=name) for name in names)
    samples = tuple(replace(run.samples[-1], node=name) for name in names)
    edges = tuple(pairwise(names))
    text = report_html([replace(run, nodes=nodes, samples=samples, edges=edges)])
    _Page(text)
    assert len(text) < 400_000
    assert "the first 200 of 1,000" in text


def test_a_star_is_drawn_around_its_server() -> None:
    experiment = Experiment(
        config_from_mapping(
            {
                "name": "star",
                "topology": {"kind": "ring", "nodes": 4},
                "data": "quadratic",
                "model": "quadratic",
                "algorithm": {"kind": "fedavg"},
                "training": {"learning_rate": 0.05, "local_steps": 1},
                "stop": {"time_s": 0.2},
                "evaluation": {"every_s": 0.1},
            },
            source="test",
        )
    )
    text = report_html([simulate(experiment)])
    _Page(text)
    assert "Who talks to whom (4 nodes)" in text
    assert ">server</text>" in text


def test_the_page_is_written_whole_or_not_at_all(make_result: MakeResult, tmp_path: Path) -> None:
    written = write_report([make_result()], tmp_path / "deep" / "report.html")
    assert written.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [file.name for file in written.parent.iterdir()] == ["report.html"]
    with pytest.raises(ConfigError, match="cannot write the report"):
        write_report([make_result()], written / "report.html")
    with pytest.raises(DataError):
        write_report([], tmp_path / "none.html")
