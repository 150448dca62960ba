"""The grid of a sweep: every combination of some values for some keys, each under some seeds."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from math import prod
from pathlib import PurePath
from typing import Final, get_args, get_type_hints

from p2pfl.algorithms.suite import LABELS
from p2pfl.config.load import parse_setting, with_algorithm, with_values
from p2pfl.config.schema import ExperimentConfig, TopologyConfig
from p2pfl.config.write import config_digest
from p2pfl.errors import ConfigError
from p2pfl.experiment import Experiment

ALGORITHM: Final = "algorithm.kind"
_TOPOLOGY: Final = "topology"

_MAX_CELLS: Final = 100_000
"""A grid beyond this is a slip: a factor too many."""

_OPENING: Final = {"[": "]", "{": "}", "(": ")"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GridAxis:
    """One key of the experiment and the values that it takes; None unsets the key."""

    key: str
    values: tuple[object, ...]


@dataclass(frozen=True, kw_only=True)
class GridPoint:
    """One combination of values, as an experiment whose seed is still open."""

    title: str
    values: Mapping[str, object]
    config: ExperimentConfig

    @cached_property
    def digest(self) -> str:
        """What the experiment of this point says, but for its seed; a graph file by its content."""
        return seedless_digest(self.config)


@dataclass(frozen=True, slots=True, kw_only=True)
class GridCell:
    """One run of a sweep: a point under one seed."""

    key: str
    """Also the name of its file."""
    place: int
    """The place of its point in the grid."""
    experiment: Experiment


@dataclass(frozen=True, kw_only=True)
class Grid:
    """All points of a sweep in the order of their axes, the last axis fastest."""

    experiment: Experiment
    axes: tuple[GridAxis, ...]
    seeds: tuple[int, ...]
    points: tuple[GridPoint, ...]

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self.experiment.config.name

    @property
    def varying(self) -> tuple[GridAxis, ...]:
        """The axes along which something changes."""
        return tuple(axis for axis in self.axes if len(axis.values) > 1)

    @cached_property
    def cells(self) -> tuple[GridCell, ...]:
        """Every point under every seed; all points under the first seed come first."""
        return tuple(
            GridCell(
                key=cell_key(place, seed),
                place=place,
                experiment=Experiment(
                    replace(point.config, seed=seed), folder=self.experiment.folder
                ),
            )
            for seed in self.seeds
            for place, point in enumerate(self.points)
        )

    @cached_property
    def digest(self) -> str:
        """16 hex digits over every experiment of the grid and its seeds."""
        content = [list(self.seeds), [[point.title, point.digest] for point in self.points]]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def cell_key(place: int, seed: int) -> str:
    """The name of a cell: its point, counted from one, and its seed."""
    return f"point{place + 1:03d}-seed{seed}"


def seedless_digest(config: ExperimentConfig) -> str:
    """The digest of an experiment in which every seed counts as the same."""
    return config_digest(replace(config, seed=0))


def parse_axis(text: str) -> GridAxis:
    """`network.loss=0,0.1,0.3` as a key and its values, each as `parse_setting` reads it.

    Commas in brackets, braces and quotes belong to a value: `model.hidden=[32],[64,64]` has two.

    Raises:
        ConfigError: it is not KEY=V1,V2,..., or a value stands there twice.
    """
    key, equals, listed = text.partition("=")
    pieces = list(_split(listed, text))
    if len(pieces) > 1 and not all(pieces):
        raise ConfigError(f"--set {text}: there is nothing between two commas")
    parsed = [parse_setting(f"{key}{equals}{piece}") for piece in pieces]
    values = tuple(value for _, value in parsed)
    _check_values(parsed[0][0], values, source=f"--set {text}")
    return GridAxis(key=parsed[0][0], values=values)


def make_grid(
    experiment: Experiment, axes: Iterable[GridAxis], *, seeds: Sequence[int] | None = None
) -> Grid:
    """Every combination of the axes' values over the experiment; without `seeds`, its one seed.

    `topology` also takes the name of a graph family and then keeps the number of nodes. Each
    experiment is checked here; whether its graph and data fit is found out when it runs.

    Raises:
        ConfigError: a key is unknown or stands twice, or some combination is no valid experiment.
    """
    axes = tuple(axes)
    taken = tuple(seeds) if seeds is not None else (experiment.config.seed,)
    _check_axes(axes, taken)
    chosen = list(product(*(axis.values for axis in axes)))
    titles = _titles(experiment, axes, chosen)
    points = []
    for title, values in zip(titles, chosen, strict=True):
        named = dict(zip((axis.key for axis in axes), values, strict=True))
        points.append(
            GridPoint(title=title, values=named, config=_applied(experiment.config, named, title))
        )
    return Grid(experiment=experiment, axes=axes, seeds=taken, points=tuple(points))


def _applied(config: ExperimentConfig, named: Mapping[str, object], title: str) -> ExperimentConfig:
    values = dict(named)
    source = f"{config.name} with {title}"
    if ALGORITHM in values:
        kind = values.pop(ALGORITHM)
        if kind not in LABELS:
            allowed = ", ".join(LABELS)
            raise ConfigError(f"{source}: {ALGORITHM} is {kind!r}; allowed: {allowed}")
        config = with_algorithm(config, str(kind))
    if values.get(_TOPOLOGY) in _graph_families():
        values = {(f"{_TOPOLOGY}.kind" if k == _TOPOLOGY else k): v for k, v in values.items()}
    return with_values(config, values, source=source) if values else config


def _graph_families() -> tuple[str, ...]:
    kinds: tuple[str, ...] = get_args(get_type_hints(TopologyConfig)["kind"])
    return tuple(kind for kind in kinds if kind not in {"file", "edges"})


# ------------------------------------------------------------ what is refused


def _check_axes(axes: Sequence[GridAxis], seeds: Sequence[int]) -> None:
    keys = [axis.key for axis in axes]
    for axis in axes:
        if axis.key == "seed":
            raise ConfigError("seed: is no key of a grid; say how many with --seeds")
        if keys.count(axis.key) > 1:
            raise ConfigError(f"{axis.key}: stands twice; give all its values in one list")
        _check_values(axis.key, axis.values, source=axis.key)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError("seeds: a sweep needs at least one, and each once")
    cells = prod(len(axis.values) for axis in axes) * len(seeds)
    if cells > _MAX_CELLS:
        raise ConfigError(f"the grid has {cells:,} runs; allowed: at most {_MAX_CELLS:,}")


def _check_values(key: str, values: Sequence[object], *, source: str) -> None:
    if not values:
        raise ConfigError(f"{source}: {key} has no value")
    for value in values:
        # True == 1 in Python, and is another value in a file.
        if sum(value == other and type(value) is type(other) for other in values) > 1:
            raise ConfigError(f"{source}: {_text(value)} stands twice")


def _split(listed: str, text: str) -> Iterator[str]:
    """The parts between commas that stand outside all brackets and quotes."""
    closing: list[str] = []
    quote, start = "", 0
    for place, letter in enumerate(listed):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in _OPENING:
            closing.append(_OPENING[letter])
        elif closing and letter == closing[-1]:
            closing.pop()
        elif letter == "," and not closing:
            yield listed[start:place].strip()
            start = place + 1
    if quote or closing:
        raise ConfigError(f"--set {text}: {quote or closing[-1]} is missing at its end")
    yield listed[start:].strip()


# ------------------------------------------------------------ what points are called


def _titles(
    experiment: Experiment, axes: Sequence[GridAxis], chosen: Sequence[tuple[object, ...]]
) -> list[str]:
    """Of each point the values in which points differ; unique."""
    varying = [place for place, axis in enumerate(axes) if len(axis.values) > 1]
    if not varying:
        kinds = [axis.values[0] for axis in axes if axis.key == ALGORITHM]
        return [LABELS.get(str(kinds[0]), str(kinds[0])) if kinds else experiment.label]
    short = [
        ", ".join(_words(axes[place].key, values[place]) for place in varying) for values in chosen
    ]
    if len(set(short)) == len(short):
        return short
    return [
        ", ".join(f"{axes[place].key} {_text(values[place])}" for place in varying)
        for values in chosen
    ]


def _words(key: str, value: object) -> str:
    """A value with as much of its key as a reader of one sweep needs."""
    if key == ALGORITHM:
        return LABELS.get(str(value), str(value))
    section, _, rest = key.partition(".")
    name = section if rest in {"", "kind", "path"} else rest
    shown = PurePath(value).stem if isinstance(value, str) and "/" in value else _text(value)
    return f"{name} {shown}"


def _text(value: object) -> str:
    if value is None:
        return "unset"
    return value if isinstance(value, str) else json.dumps(value, default=str)
