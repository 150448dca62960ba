"""The short form of every reproduction: rows against theory, on small instances."""

from dataclasses import replace
from pathlib import Path

import pytest

from p2pfl.config.load import config_from_mapping, load_config
from p2pfl.config.schema import ComparisonConfig
from p2pfl.reproduction.reproduce import reproduce
from p2pfl.reproduction.stragglers import TABLE
from p2pfl.reproduction.target import TARGETS, Reproduction


def held(reproduction: Reproduction) -> list[str]:
    return [f"{row.what}: {row.measured}" for row in reproduction.rows if not row.ok]


@pytest.mark.parametrize("name", TARGETS)
def test_every_row_of_the_short_form_holds(name: str) -> None:
    told: list[str] = []
    made = reproduce(name, quick=True, tell=told.append)
    assert not held(made)
    assert made.rows
    assert told
    assert all(line.y for chart in made.charts for line in chart.lines)


def test_the_straggler_example_is_the_experiment_of_the_reproduction() -> None:
    example = load_config(Path(__file__).parents[2] / "examples" / "stragglers.toml")
    assert config_from_mapping({**TABLE}, source="R8") == replace(
        example, comparison=ComparisonConfig()
    )
