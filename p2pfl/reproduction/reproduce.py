"""One entrance: a target by its name."""

from collections.abc import Sequence
from importlib import import_module
from typing import Protocol, cast

from p2pfl.errors import ConfigError
from p2pfl.reproduction.target import TARGETS, Reproduction, Tell, tell_nobody


class _Module(Protocol):
    def reproduce(self, *, quick: bool, tell: Tell) -> Reproduction: ...


def checked(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each once, if all of them are known.

    Raises:
        ConfigError: there is no such target.
    """
    for name in names:
        if name not in TARGETS:
            raise ConfigError(
                f"there is no target {name!r} to reproduce; there are {', '.join(TARGETS)}"
            )
    return tuple(dict.fromkeys(names))


def reproduce(name: str, *, quick: bool = False, tell: Tell = tell_nobody) -> Reproduction:
    """Compute one target; `quick` takes the smallest instances, in seconds.

    Raises:
        ConfigError: there is no such target.
    """
    (known,) = checked([name])
    module = cast("_Module", import_module(f"p2pfl.reproduction.{TARGETS[known].module}"))
    return module.reproduce(quick=quick, tell=tell)
