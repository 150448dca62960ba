"""An experiment from its file, from a mapping, or from another one with a few values changed.

Everything comes out typed, in range and free of contradictions, or is refused with one line.
"""

import re
import tomllib
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Final, cast, get_args, get_type_hints

from p2pfl.algorithms.suite import GOSSIPS, make_rule
from p2pfl.config.check import BUILT_IN_ALGORITHMS, check_config, foreign_keys
from p2pfl.config.read import Place, read_dataclass, suggestion
from p2pfl.config.schema import ExperimentConfig, StalenessConfig, TopologyConfig
from p2pfl.config.write import config_to_mapping
from p2pfl.errors import ConfigError

_FILE_BYTES: Final = 16 * 1024 * 1024
"""An explicit edge list of a large graph has some megabytes; what is larger is another file."""

_PATHS: Final = (
    ("topology", "path"),
    ("data", "folder"),
    ("compute", "trace"),
    ("broker", "ca_file"),
)
"""Paths are meant from where the file that says them lies."""

_SETTING_KEY: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


def load_config(path: Path) -> ExperimentConfig:
    """The experiment in a TOML file, its own paths resolved from the file's folder.

    Raises:
        ConfigError: no such file, not TOML, or not an experiment; one line says what to change.
    """
    try:
        if path.stat().st_size > _FILE_BYTES:
            raise ConfigError(f"{path}: has more than {_FILE_BYTES} bytes; is it an experiment?")
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        near = suggestion(path.name, (each.name for each in path.parent.glob("*.toml")))
        raise ConfigError(f"{path}: no such file{near}") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not valid TOML: {error}") from error
    return config_from_mapping(table, source=str(path), folder=path.parent)


def config_from_mapping(
    table: Mapping[str, object], *, source: str, folder: Path | None = None
) -> ExperimentConfig:
    """The experiment that a mapping describes; relative paths are meant from `folder`, if given.

    Raises:
        ConfigError: `source`, the dotted key, what was found and what is allowed.
    """
    resolved = _resolve_paths(_expand_shorthands(table), folder)
    config = read_dataclass(ExperimentConfig, resolved, Place(source))
    check_config(config, source=source)
    return config


def with_values(
    config: ExperimentConfig, values: Mapping[str, object], *, source: str = "settings"
) -> ExperimentConfig:
    """The experiment with some dotted keys set, as in `{"network.loss": 0.1}`, and checked anew.

    None unsets a key. A changed `kind` takes the keys that only the old kind read with it.

    Raises:
        ConfigError: an unknown key, or a value that the file could not hold either.
    """
    table = deepcopy(config_to_mapping(config))
    for key, value in values.items():
        _set(table, key, value, source)
    for key, kind in values.items():
        section, _, name = key.partition(".")
        part = table.get(section)
        if name == "kind" and isinstance(part, dict):
            for foreign in foreign_keys(section, str(kind)):
                if f"{section}.{foreign}" not in values:
                    part.pop(foreign, None)
    return config_from_mapping(table, source=source, folder=Path())


def with_algorithm(config: ExperimentConfig, kind: str) -> ExperimentConfig:
    """The same experiment under another algorithm, for comparisons.

    A synchronous one brings its own waiting: the staleness policy goes back to its default.
    """
    values: dict[str, object] = {"algorithm.kind": kind}
    if kind in GOSSIPS and make_rule(kind, {}).capabilities.synchronous:
        default = StalenessConfig()
        values |= {
            "staleness.policy": default.policy,
            "staleness.bound": default.bound,
            "staleness.metric": default.metric,
        }
    return with_values(config, values, source=config.name)


def parse_setting(text: str) -> tuple[str, object]:
    """`network.loss=0.1` as the key and its TOML value; what is no TOML value is a text.

    An empty value is None, which unsets the key.

    Raises:
        ConfigError: it is not KEY=VALUE.
    """
    key, equals, value = text.partition("=")
    key, value = key.strip(), value.strip()
    if not equals or not _SETTING_KEY.fullmatch(key):
        raise ConfigError(f'--set {text}: allowed: KEY=VALUE, as in "network.loss=0.1"')
    if not value:
        return key, None
    try:
        parsed = tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        return key, value
    return key, parsed["value"] if parsed.keys() == {"value"} else value


def algorithm_kinds() -> tuple[str, ...]:
    """Every algorithm that comes with p2pfl."""
    return BUILT_IN_ALGORITHMS


def _set(table: dict[str, object], key: str, value: object, source: str) -> None:
    """Put one value at a dotted key; None takes the key away. Reading finds unknown keys."""
    *sections, last = key.split(".")
    place = Place(source)
    for name in sections:
        place = place.at(name)
        inner = table.setdefault(name, {})
        if not isinstance(inner, dict):
            raise Place(source, key).error(f"is unknown: {place.key} holds no further keys")
        table = cast("dict[str, object]", inner)
    if value is None:
        table.pop(last, None)
    else:
        table[last] = value


def _expand_shorthands(table: Mapping[str, object]) -> dict[str, object]:
    """`model = "mlp"` is `model = { kind = "mlp" }`; a topology may also be a file's path."""
    expanded = dict(table)
    for section in ("topology", "data", "model"):
        short = expanded.get(section)
        if not isinstance(short, str):
            continue
        if section == "topology" and short not in _graph_kinds():
            expanded[section] = {"kind": "file", "path": short}
        else:
            expanded[section] = {"kind": short}
    return expanded


def _graph_kinds() -> tuple[str, ...]:
    return get_args(get_type_hints(TopologyConfig)["kind"])


def _resolve_paths(table: dict[str, object], folder: Path | None) -> dict[str, object]:
    """Relative paths made absolute, so that a run's own copy of the experiment still finds them."""
    if folder is None:
        return table
    resolved = dict(table)
    for section, key in _PATHS:
        part = resolved.get(section)
        if isinstance(part, Mapping) and isinstance(part.get(key), str) and part[key]:
            path = (folder / Path(part[key]).expanduser()).resolve()
            resolved[section] = {**part, key: str(path)}
    return resolved
