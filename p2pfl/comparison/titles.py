"""Which runs are the same but for their seed, and what tells the others apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from p2pfl.config.schema import ComparisonConfig
from p2pfl.config.write import config_to_mapping
from p2pfl.results.record import RunResult

_DRIVERS: Final[Mapping[str, str]] = {"simulation": "simulated", "runtime": "real"}

_MAX_SHOWN: Final = 2
"""So many differing keys stand in a title; a third would not fit a terminal's line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Runs of one experiment under one algorithm and driver, a seed each."""

    title: str
    runs: tuple[RunResult, ...]


def group_runs(results: Sequence[RunResult]) -> tuple[Group, ...]:
    """Runs that differ in their seed alone together, in the order given; titles are unique."""
    groups: list[list[RunResult]] = []
    for result in results:
        for group in groups:
            if _same(group[0], result):
                group.append(result)
                break
        else:
            groups.append([result])
    titles = _titles([group[0] for group in groups])
    return tuple(
        Group(title=title, runs=tuple(group)) for title, group in zip(titles, groups, strict=True)
    )


def _same(a: RunResult, b: RunResult) -> bool:
    return (a.label, a.driver) == (b.label, b.driver) and _seedless(a) == _seedless(b)


def _seedless(result: RunResult) -> object:
    return replace(result.config, seed=0, comparison=ComparisonConfig())


def _titles(firsts: Sequence[RunResult]) -> list[str]:
    """The label, and only as much more as tells it from the others."""
    drivers = {each.driver for each in firsts}
    plain = [
        each.label if len(drivers) == 1 else f"{each.label}, {_DRIVERS[each.driver]}"
        for each in firsts
    ]
    titles = []
    for title, first in zip(plain, firsts, strict=True):
        rivals = [each for other, each in zip(plain, firsts, strict=True) if other == title]
        difference = _difference(first, rivals)
        titles.append(f"{title}, {difference}" if difference else title)
    return titles


def _difference(one: RunResult, rivals: Sequence[RunResult]) -> str:
    """The values of `one` under the keys in which the rivals differ."""
    if len({each.name for each in rivals}) == len(rivals) > 1:
        return one.name
    tables = [_flat(config_to_mapping(each.config)) for each in rivals]
    keys = dict.fromkeys(key for table in tables for key in table)
    differing = [
        key
        for key in keys
        if key != "seed"
        and not key.startswith("comparison.")
        and any(table.get(key) != tables[0].get(key) for table in tables)
    ]
    mine = _flat(config_to_mapping(one.config))
    shown = [f"{key.rpartition('.')[2]} {_short(mine.get(key))}" for key in differing[:_MAX_SHOWN]]
    return ", ".join(shown)


def _flat(table: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _short(value: object) -> str:
    if value is None:
        return "unset"
    return f"{value:g}" if isinstance(value, float) else str(value)
