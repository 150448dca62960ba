"""A typed experiment back to a mapping, to TOML that loads back equal, and to a digest."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from p2pfl.config.read import Place, read_dataclass
from p2pfl.config.schema import ExperimentConfig
from p2pfl.errors import ConfigError

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")

LOCAL_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "data": ("folder",),
    "compute": ("trace",),
    "broker": ("url", "engine", "ca_file"),
}
"""What may differ between the machines of one run."""


def config_to_mapping(config: ExperimentConfig) -> dict[str, object]:
    """The experiment as tables, lists and plain values; unset optional keys are left out."""
    return _table(config)


def config_to_toml(config: ExperimentConfig) -> str:
    """The resolved experiment, every default written out; loading it gives an equal one."""
    mapping = config_to_mapping(config)
    lines = [_line(key, value) for key, value in mapping.items() if not isinstance(value, dict)]
    for key, value in mapping.items():
        if isinstance(value, dict):
            lines += ["", f"[{key}]", *(_line(*item) for item in value.items())]
    return "\n".join(lines) + "\n"


def config_digest(config: ExperimentConfig) -> str:
    """16 hex digits over everything that the nodes of one run must agree on.

    Left out are `LOCAL_KEYS`, `[comparison]`, `[simulation]`, `[runtime]` and `[health]`. A
    topology file counts by its content, not by its path: the same graph may lie elsewhere.

    Raises:
        ConfigError: the topology file cannot be read.
    """
    # Reading it once more turns whole numbers into floats where floats are meant: 1 is 1.0.
    same = read_dataclass(ExperimentConfig, _table(config), Place(config.name))
    mapping = _table(same)
    for section in ("comparison", "simulation", "runtime", "health"):
        del mapping[section]
    for section, keys in LOCAL_KEYS.items():
        table = mapping[section]
        assert isinstance(table, dict)
        for key in keys:
            table.pop(key, None)
    if config.topology.path:
        table = mapping["topology"]
        assert isinstance(table, dict)
        table["path"] = _content_digest(Path(config.topology.path))
    text = json.dumps(mapping, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _content_digest(path: Path) -> str:
    try:
        # A checkout may turn line ends; the graph stays the same.
        content = path.read_bytes().replace(b"\r\n", b"\n")
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot read this file that topology.path names: {error.strerror}"
        ) from error
    return hashlib.sha256(content).hexdigest()


def _table(part: object) -> dict[str, object]:
    """A dataclass as a table; TOML has no null, so a key that is None is left out."""
    assert dataclasses.is_dataclass(part)
    values = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    return {name: _plain(value) for name, value in values.items() if value is not None}


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if dataclasses.is_dataclass(value):
        return _table(value)
    return value


def _line(key: str, value: object) -> str:
    return f"{_key(key)} = {_toml(value)}"


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _text(key)


def _toml(value: object) -> str:
    """One value as TOML 1.0 writes it, tables inline."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return f"[{', '.join(_toml(each) for each in value)}]"
    if isinstance(value, dict):
        inner = ", ".join(_line(*item) for item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    return repr(value)


def _text(text: str) -> str:
    """A basic string: JSON's escapes are TOML's, but for DEL, which TOML wants escaped too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
