"""Histories read back: whose lives lie in a folder, and what happened in each, step by step."""

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from p2pfl.errors import DataError
from p2pfl.messages import (
    Ended,
    Incarnation,
    PeerLost,
    Presence,
    PresenceState,
    Received,
    Started,
    VersionRequest,
    Woken,
)
from p2pfl.results.history import (
    FORMAT,
    RECORD,
    SUFFIX,
    Happened,
    Head,
    HeardModel,
    Left,
    ModelName,
    Step,
    WasTrained,
)

_DID: Final = b'{"did"'
_HEAD: Final = b'{"node":'


def find_histories(folder: Path) -> list[Path]:
    """The histories of a run's folder, or those that lie in `folder` itself, by name.

    Raises:
        DataError: there are none.
    """
    inner = folder / RECORD
    files = sorted((inner if inner.is_dir() else folder).glob(f"*{SUFFIX}"))
    # A run's folder holds other lines too.
    files = [file for file in files if inner.is_dir() or _begins_a_life(file)]
    if not files:
        raise DataError(
            f"{folder}: holds no record; record a run by `p2pfl run --record`, or gather what"
            " `p2pfl node --record DIR` left at each node into one folder"
        )
    return files


def _begins_a_life(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.readline(len(_HEAD)) == _HEAD


def read_head(file: Path) -> Head:
    """Whose life this is.

    Raises:
        DataError: the file cannot be read or is no history that this version knows.
    """
    for _, line in _lines(file):
        found = _parsed(line, f"{file}: line 1")
        if found.get("format") != FORMAT:
            raise DataError(f"{file}: has format {found.get('format')!r}, this version {FORMAT}")
        if set(found) != {field.name for field in fields(Head)}:
            raise DataError(f"{file}: line 1 is no head of a record")
        counter, nonce = found.pop("life")
        return Head(**found, life=(int(counter), int(nonce)))
    raise DataError(f"{file}: is empty")


def read_steps(file: Path) -> Iterator[Step]:
    """All that happened, in order, one at a time.

    Raises:
        DataError: a line is damaged; a torn last one is none.
    """
    event: tuple[int, bytes] | None = None
    for number, line in _lines(file):
        if number == 1:
            continue
        if line.startswith(_DID):
            if event is None:
                raise DataError(f"{file}: line {number}: a decision without an event")
            yield _step(file, *event, decided=line.decode())
            event = None
            continue
        if event is not None:
            yield _step(file, *event, decided="")
        event = number, line
    if event is not None:
        yield _step(file, *event, decided=None)


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with file.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if line.endswith(b"\n"):
                    yield number, line[:-1]
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from error


def _parsed(line: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where}: is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise DataError(f"{where}: is not a JSON object")
    return found


def _step(file: Path, number: int, line: bytes, *, decided: str | None) -> Step:
    found = _parsed(line, f"{file}: line {number}")
    try:
        return Step(found["at"], _happened(found), decided, number)
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"{file}: line {number}: is no event: {error!r}") from None


def _happened(found: dict[str, Any]) -> Happened:
    match found:
        case {"model": [node, counter, nonce, sequence], "version": version, "retained": retained}:
            return HeardModel(ModelName(node, counter, nonce, sequence), version, retained)
        case {"presence": presence, "retained": retained}:
            run, node, counter, nonce, state, *rest = presence
            life = Incarnation(counter, nonce)
            return Received(Presence(run, node, life, PresenceState(state), *rest), retained)
        case {"request": [run, node, version], "retained": retained}:
            return Received(VersionRequest(run, node, version), retained)
        case {"trained": token, "loss": loss, "hash": digest}:
            return WasTrained(token, loss, digest)
        case {"woken": token}:
            return Woken(token)
        case {"lost": [node, counter, nonce]}:
            return PeerLost(node, Incarnation(counter, nonce))
        case {"started": [counter, nonce], "rejoining": rejoining}:
            return Started(Incarnation(counter, nonce), rejoining)
        case {"ended": reason}:
            return Ended(reason)
        case {"served": served, "public": public}:
            return Left(served, public)
        case _:
            raise ValueError(", ".join(found))
