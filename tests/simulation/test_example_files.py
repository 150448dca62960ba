"""Every example file is a valid experiment, and the small ones run."""

from pathlib import Path

import pytest

from p2pfl.config.schema import StopConfig
from p2pfl.experiment import load_experiment
from p2pfl.simulation.simulate import simulate

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(EXAMPLES.glob("*.toml"))
LARGE = {"mnist-200", "mnist-halves"}
"""They need MNIST and minutes."""


def test_there_are_example_files() -> None:
    assert len(FILES) >= 8
    assert {path.stem for path in FILES} > LARGE


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_file_says_what_it_is_and_how_to_run_it(path: Path) -> None:
    experiment = load_experiment(path)
    assert experiment.config.name == path.stem
    assert f"examples/{path.name}" in path.read_text()


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.stem not in LARGE], ids=lambda path: path.stem
)
def test_a_small_example_file_runs(path: Path) -> None:
    experiment = load_experiment(path)
    short = StopConfig(steps=5, time_s=experiment.config.stop.time_s)
    result = simulate(experiment.replace(stop=short))
    assert result.final.steps > len(experiment.learners)
    assert result.staleness_max <= experiment.config.staleness.bound
