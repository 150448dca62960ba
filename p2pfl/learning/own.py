"""The user's own functions, named `module:function` in the experiment file."""

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from p2pfl.errors import ConfigError


def is_own(kind: str) -> bool:
    """Whether this kind names a function of the user's."""
    return ":" in kind


def load_function(spec: str, *, folder: str = "") -> Callable[..., Any]:
    """The function that `module:function` names; the module may lie in the experiment's folder.

    The folder goes last on the import path and stays there, so that the user's module may
    import its neighbours later too.

    Raises:
        ConfigError: The spec is malformed, the module does not import, the function is not there.
    """
    module_name, _, function_name = spec.partition(":")
    if not module_name or not function_name:
        raise ConfigError(f"{spec!r}: expected module:function")
    if folder and str(Path(folder).resolve()) not in sys.path:
        sys.path.append(str(Path(folder).resolve()))
        importlib.invalidate_caches()
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        places = f"{folder!r} or " if folder else ""
        raise ConfigError(
            f"{spec!r}: cannot import {module_name!r} from {places}the import path: {error}"
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        found = "is not there" if function is None else "cannot be called"
        raise ConfigError(f"{spec!r}: {function_name!r} {found} in {module.__file__}")
    return function  # type: ignore[no-any-return] # `callable` proves it callable, not typed


def call_with(function: Callable[..., Any], offered: dict[str, object]) -> object:
    """Call with those of the offered keywords that the function's signature names."""
    names = inspect.signature(function).parameters
    return function(**{key: value for key, value in offered.items() if key in names})
