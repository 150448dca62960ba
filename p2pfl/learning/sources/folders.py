"""Where data sets lie on this machine, and where fetched ones are kept."""

import os
from collections.abc import Iterable
from pathlib import Path


def cache_folder(name: str) -> Path:
    """Where a fetched data set is kept: `~/.cache/p2pfl/<name>` (or below XDG_CACHE_HOME)."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "p2pfl" / name


def data_folders(name: str) -> list[Path]:
    """The folders a data set is looked for in, in this order, when none is given."""
    environment = os.environ.get("P2PFL_DATA")
    here = Path.cwd()
    return [
        *([Path(environment) / name] if environment else []),
        here / "data" / name,
        here.parent / "shared" / "data" / name,
        cache_folder(name),
    ]


def find_folder(name: str, *, folder: str, files: Iterable[str]) -> Path | None:
    """The first folder that holds all these files (each plain or `.gz`); None: there is none.

    A folder that is given is the only one looked in.
    """
    wanted = tuple(files)
    for candidate in [Path(folder).expanduser()] if folder else data_folders(name):
        if all(find_file(candidate, file) for file in wanted):
            return candidate
    return None


def find_file(folder: Path, file: str) -> Path | None:
    """This file in this folder, plain or gzipped; None: there is none."""
    for path in (folder / file, folder / f"{file}.gz"):
        if path.is_file():
            return path
    return None
