"""Every example script runs as its first lines say."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

SAYS = {
    "01_simulate": "largest staleness ever mixed",
    "02_own_algorithm": "NearerHalf",
    "03_node_in_your_program": "n1: 400 steps, accuracy 0.",
    "own_torch": "All ran for 1",
    "own_lightning": "All ran for 1",
    "own_hugging_face": "All ran for",
    "own_flower": "All ran for 1",
}


def test_every_script_is_among_those_that_are_run() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SAYS)
    assert all(len(path.read_text().splitlines()) <= 75 for path in EXAMPLES.glob("*.py"))


@pytest.mark.broker
@pytest.mark.parametrize("name", SAYS)
def test_an_example_runs_and_says_what_it_should(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert SAYS[name] in done.stdout
