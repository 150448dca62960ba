"""docs/deploy.md says how many bytes a run needs; the simulator counts them."""

import re
import shlex
from pathlib import Path
from typing import Any, Final

import pytest

from p2pfl.cli.main import main
from p2pfl.config.load import config_from_mapping
from p2pfl.experiment import Experiment
from p2pfl.simulation.simulate import simulate

GUIDE: Final = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text(encoding="utf-8")
UPDATES: Final = 40
DEGREE: Final = 4


def table(name: str) -> list[list[str]]:
    """The rows of one of the guide's tables, without the head."""
    found = re.search(rf"<!-- sizing: {name} -->\n(.*?)<!-- end -->", GUIDE, re.DOTALL)
    assert found, name
    lines = [line for line in found[1].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


FACTORS: Final = {
    kind: (sends, receives)
    for kinds, sends, receives in table("factors")
    for kind in re.findall(r"`(\w+)`", kinds)
}


def times(factor: str, degree: int) -> int:
    """What `2k` is."""
    return int(factor.replace("k", "") or 1) * (degree if "k" in factor else 1)


def run(kind: str, **tables: Any) -> Any:  # noqa: ANN401 - tables as a user writes them
    base: dict[str, Any] = {
        "name": "size",
        "topology": {"kind": "circulant", "nodes": 6, "offsets": [1, 2]},
        "data": "digits",
        "model": {"kind": "mlp", "hidden": [190, 190]},
        "training": {"learning_rate": 0.01, "local_steps": 1},
        "algorithm": {"kind": kind},
        "compute": {"step_s": 1.0},
        "network": {"latency_s": 0.001},
        "evaluation": {"every_s": 1e6, "samples": 10},
        "comparison": {"algorithms": []},
        "stop": {"time_s": UPDATES + 0.5},
    }
    return simulate(Experiment(config_from_mapping(base | tables, source="test")))


@pytest.mark.parametrize("kind", FACTORS)
def test_a_node_sends_and_receives_as_many_models_as_the_guide_says(kind: str) -> None:
    result = run(kind)
    sends, receives = FACTORS[kind]
    for node in result.nodes:
        if node.role == "node":
            models = 4.0 * result.dimension * node.versions
            # At the ends of a run one model more or less is on its way.
            assert node.out_bytes / models == pytest.approx(times(sends, DEGREE), rel=0.05)
            assert node.in_bytes / models == pytest.approx(times(receives, DEGREE), rel=0.05)


@pytest.mark.parametrize("row", table("examples"), ids=lambda row: str(row[0]))
def test_the_worked_examples_are_worked_out_right(row: list[str]) -> None:
    _, size, codec, *rest = row
    nodes, degree, period_s, up, down, broker = map(float, rest)
    model_mb = {"float32": 4, "bfloat16": 2}[codec] * int(size.replace(",", "")) / 1e6
    assert up == pytest.approx(model_mb / period_s, rel=0.03)
    assert down == pytest.approx(degree * model_mb / period_s, rel=0.03)
    assert broker == pytest.approx(nodes * degree * model_mb / period_s, rel=0.03)


def test_an_example_is_what_the_simulator_counts() -> None:
    name, *_, up, down, broker = table("examples")[0]
    assert name == "digits, MLP 64-32-10"
    result = run(
        "pull_mix",
        topology={"kind": "circulant", "nodes": 8, "offsets": [1, 2, 4]},
        model={"kind": "mlp", "hidden": [32]},
        training={"learning_rate": 0.1, "local_steps": 4},
        compute={"step_s": 0.02},
        stop={"time_s": 8.0},
    )
    first, fan_out = result.nodes[0], sum(node.fan_out_bytes for node in result.nodes)
    found = [b / 8.0 / 1e6 for b in (first.out_bytes, first.in_bytes, fan_out)]
    assert found == pytest.approx([float(up), float(down), float(broker)], rel=0.05)


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in lines if re.search(r"(^|\s)p2pfl ", line)]


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_guide_is_one(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its words are known: whatever is wrong with them is told before `--help` is seen."""
    words = shlex.split(line, comments=True)
    words = words[words.index("p2pfl") + 1 :]
    with pytest.raises(SystemExit) as left:
        raise SystemExit(main([*words, "--help"]))
    known = capsys.readouterr().out
    assert left.value.code == 0
    assert all(word in known for word in words if word.startswith("--"))
