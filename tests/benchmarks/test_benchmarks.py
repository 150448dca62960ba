"""The benchmarks run, at their smallest: what they measure is not judged here."""

import json
import sys
from pathlib import Path

import apart
import bench_memory
import bench_peers
import bench_servers
import bench_trainers
import bench_wire
import pytest
from apart import FailedError, measure_apart
from bench_simulator import CASES, IN_SHORT, times
from cases import HIDDEN, Case, loop_trainer, measure, profile, torch_loop
from results import BUILD, ROOT, Column, Table, fill_in, keep, kept_tables

HERE = Path(__file__).parent
SMALL = Case(nodes=4, steps=4, local_steps=2)
COLUMNS = (Column("title", "what"), Column("rate", "per second"), Column("times", "x", ".1f"))


@pytest.mark.parametrize(
    "case",
    [
        SMALL,
        Case(kind="dpsgd", nodes=4, steps=2),
        Case(kind="fedavg", nodes=4, steps=2),
        Case(nodes=4, steps=2, fast=True),
        Case(nodes=2, steps=1, model="50 k"),
    ],
    ids=lambda case: case.title,
)
def test_a_case_is_measured(case: Case) -> None:
    found = measure(case)
    assert found["node_steps"] >= case.nodes
    assert found["rate"] > 0
    assert 1 <= found["width"] <= case.nodes


@pytest.mark.parametrize("kind", ["fedavg", "fedbuff"])
def test_what_a_message_costs_a_server_is_measured(kind: str) -> None:
    assert bench_servers.server_us({"kind": kind}, clients=4, updates=20) > 0


def test_the_parts_of_a_node_step_are_told() -> None:
    assert all(value > 0 for value in profile(SMALL).values())


def test_the_models_have_the_sizes_that_they_are_named_by() -> None:
    sizes = {name: Case(nodes=2, steps=1, model=name).experiment() for name in HIDDEN}
    found = {name: one.make_trainer().dimension for name, one in sizes.items()}
    assert found == {"2 k": 2_410, "50 k": 50_550, "1 M": 1_000_567}


def test_what_the_readme_shows_is_measured() -> None:
    assert set(IN_SHORT) <= set(CASES)
    titles = [case.title for case in CASES]
    assert len(set(titles)) == len(titles)


def test_the_loops_are_measured() -> None:
    assert loop_trainer(SMALL.experiment(), seconds=0.01)["rate"] > 0
    assert torch_loop("2 k", seconds=0.01)["rate"] > 0
    assert times(30.0, 10.0, None) == {"times_torch": 3.0, "times_trainer": None}


def test_the_trainers_are_measured_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_trainers, "ROUND_S", 0.0)
    (row,) = bench_trainers.measure("trainers", bench_trainers.small, (2,), steps=2).rows
    assert all(float(row[key] or 0) > 0 for key in ("loop", "batched", "batched_wall"))
    assert len(bench_trainers.evaluation(2).rows) == 2


def test_what_a_model_costs_on_its_way_is_measured() -> None:
    frames = {str(row["title"]): row for row in bench_wire.frame_table(100_000, repeats=1).rows}
    assert len(frames) == 7
    assert all(float(row["ms"] or 0) > 0 for row in frames.values())
    assert frames["both"]["times"] == 100
    *_, mixed = bench_wire.mix_table(100_000, repeats=1).rows
    assert mixed["moved"] == pytest.approx(2.4)


@pytest.mark.broker
@pytest.mark.parametrize("who", ["clients", "nodes"])
async def test_models_between_nodes_and_between_bare_clients_are_counted(who: str) -> None:
    assert await bench_wire.over("nats", 0.5, who) > 1.0


# ------------------------------------------------------------ in a process of its own


def test_an_answer_comes_with_the_memory_of_its_process() -> None:
    code = "import json, time; x = b'x' * 50_000_000; time.sleep(1); print(json.dumps({'a': 1}))"
    found = measure_apart([sys.executable, "-c", code], timeout_s=60)
    assert found["a"] == 1
    assert found["family_mib"] > 40


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise SystemExit('no data')", "no data"),
        ("print('nothing')", "answered 'nothing'"),
        ("import time; time.sleep(60)", "was not done after 1 s"),
    ],
)
def test_what_came_to_nothing_is_one_reason(code: str, reason: str) -> None:
    with pytest.raises(FailedError, match=reason):
        measure_apart([sys.executable, "-c", code], timeout_s=1)


@pytest.mark.broker
def test_data_that_is_mapped_takes_less_than_a_copy_for_each_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "LOOK_S", 0.15)
    # Of half as much, the file's own decoding would be a good part of either peak.
    size_mib = bench_memory.write_data(tmp_path, 30_000)
    each, mapped = (
        bench_memory.measured(tmp_path, cache=cache, nodes=4, seconds=2.0)
        for cache in ("/dev/null", str(tmp_path))
    )
    assert min(each["steps"], mapped["steps"]) > 0
    # Of four copies, less what is no data of the run's own, three fall away.
    assert each["family_mib"] - mapped["family_mib"] > size_mib / 2


# ------------------------------------------------------------ the peers' job


def test_our_side_of_the_peers_job_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles = (bench_peers.TORCH_LOOP, bench_peers.PULL_MIX)
    ours = tuple(one for one in bench_peers.CONTESTANTS if one.title in titles)
    monkeypatch.setattr(bench_peers, "CONTESTANTS", ours)
    missing: dict[str, str] = {}
    data = bench_peers.write_data(tmp_path)
    rows = list(bench_peers.rows_of(4, data=data, share=0.001, missing=missing))
    assert not missing
    assert [row["title"] for row in rows] == [one.title for one in ours]
    assert rows[0]["times_loop"] == 1.0


def test_a_peer_that_cannot_be_had_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(requirement: str) -> Path:
        raise FailedError(f"{requirement} cannot be installed here")

    monkeypatch.setattr(bench_peers, "environment_of", refuse)
    peer = bench_peers.Contestant(title="a peer", job="none.py", node_steps=1, requirement="peer")
    monkeypatch.setattr(bench_peers, "CONTESTANTS", (peer,))
    missing: dict[str, str] = {}
    for nodes in (10, 100):
        assert not list(bench_peers.rows_of(nodes, data=tmp_path, share=1.0, missing=missing))
    assert missing == {"a peer": "peer cannot be installed here"}


@pytest.mark.parametrize("job", sorted((HERE / "peers").glob("*.py")), ids=lambda job: job.stem)
def test_a_peers_job_is_python(job: Path) -> None:
    compile(job.read_text(encoding="utf-8"), str(job), "exec")


# ------------------------------------------------------------ what is kept


def test_kept_tables_find_their_places_in_a_page(tmp_path: Path) -> None:
    table = Table("speed", COLUMNS)
    table.add({"title": "one", "rate": 12_345.6, "times": 2.0})
    table.add({"title": "two", "rate": 1.0})
    table.note("two has no ratio.")
    keep(table, conditions={"Python": "3"}, folder=tmp_path)
    keep(Table("other", COLUMNS), conditions={}, folder=tmp_path)
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table: speed -->\nold\n<!-- end -->\nafter\n")
    assert fill_in(page, tmp_path) == ["speed"]
    text = page.read_text()
    assert text.startswith("before\n<!-- table: speed -->\n\n| what | per second | x |\n")
    assert "| one | 12,346 | 2.0 |\n| two | 1 | - |\n\ntwo has no ratio.\n" in text
    assert "Measured with Python 3." in text
    assert text.endswith("<!-- end -->\nafter\n")
    assert fill_in(page, tmp_path) == ["speed"]
    assert page.read_text() == text
    assert set(json.loads((tmp_path / "results.json").read_text())) == {"speed", "other"}
    assert set(kept_tables(tmp_path)) == {"speed", "other"}
    assert "## other" in (tmp_path / "results.md").read_text()


def test_what_is_kept_is_not_in_the_repository() -> None:
    assert f"/{BUILD.relative_to(ROOT).parts[0]}/" in (ROOT / ".gitignore").read_text().split()
