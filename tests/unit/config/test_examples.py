"""Every experiment of the folder examples/ is one, and says what it shows and what to try next."""

import re
from pathlib import Path
from typing import Final

import pytest

from p2pfl.config.load import config_from_mapping, load_config, parse_setting, with_values
from p2pfl.config.write import config_to_mapping

FOLDER: Final = Path(__file__).parents[3] / "examples"
EXAMPLES: Final = sorted(path.name for path in FOLDER.glob("*.toml"))
SETTING: Final = re.compile(r"--set (\S+='[^']*'|\S+)")


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_an_experiment_of_its_own_name(name: str) -> None:
    config = load_config(FOLDER / name)
    assert f"{config.name}.toml" == name
    assert config_from_mapping(config_to_mapping(config), source=name) == config


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_says_what_it_shows(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert "# What it shows:" in text
    assert f"examples/{name}" in text


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_an_example_proposes_to_try_next_is_allowed(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    config = load_config(FOLDER / name)
    proposals = [
        dict(parse_setting(found.replace("'", "")) for found in SETTING.findall(line))
        for line in text.splitlines()
        if "--set" in line
    ]
    for values in proposals:
        assert with_values(config, values) != config


def test_the_first_example_proposes_what_to_try() -> None:
    assert len(SETTING.findall((FOLDER / "digits.toml").read_text(encoding="utf-8"))) >= 3
