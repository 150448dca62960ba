"""`p2pfl health`: how a node is that answers on this machine; for people and for health checks."""

import argparse
import http.client
import json
import sys
import time
from typing import Final

from p2pfl.errors import ConfigError, TransportError
from p2pfl.exit_codes import ExitCode

_TIMEOUT_S: Final = 5.0
_AGAIN_S: Final = 0.5
_WELL: Final = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the node answers, and what to ask it."""
    parser.add_argument("--port", type=int, required=True, metavar="PORT", help="its health port")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="(%(default)s)")
    parser.add_argument(
        "--live", action="store_true", help="only whether it can go on, connected or not"
    )
    parser.add_argument(
        "--wait", type=float, default=0.0, metavar="SECONDS", help="wait so long until it is well"
    )


def run(arguments: argparse.Namespace) -> int:
    """0 if it is well, 6 if it is not.

    Raises:
        TransportError: nobody answers there.
        ConfigError: who answers is no node.
    """
    until_s = time.monotonic() + arguments.wait
    while True:
        try:
            status, state = _ask(arguments)
        except TransportError:
            if time.monotonic() > until_s:
                raise
        else:
            if status == _WELL or time.monotonic() > until_s:
                sys.stdout.write(f"{_line(state)}\n")
                return ExitCode.DONE if status == _WELL else ExitCode.DIFFERS
        time.sleep(_AGAIN_S)


def _ask(arguments: argparse.Namespace) -> tuple[int, dict[str, object]]:
    place = f"{arguments.host}:{arguments.port}"
    connection = http.client.HTTPConnection(arguments.host, arguments.port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/healthz/live" if arguments.live else "/healthz")
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as problem:
        raise TransportError(f"no node answers at {place}: {problem}") from None
    finally:
        connection.close()
    try:
        state = json.loads(body)
    except ValueError:
        state = None
    if not isinstance(state, dict) or "live" not in state:
        raise ConfigError(f"who answers at {place} is no node of p2pfl")
    return answer.status, state


def _line(state: dict[str, object]) -> str:
    words = [
        f"{state.get('node', 'a node')}: {state['phase']}",
        "live" if state["live"] else "not live",
        "ready" if state["ready"] else "not ready",
    ]
    waiting = state["waiting_for"]
    if isinstance(waiting, list) and waiting:
        words.append(f"waiting for {', '.join(map(str, waiting))}")
    if "version" in state:
        words.append(f"version {state['version']}")
    age_s = state["last_update_age_s"]
    if isinstance(age_s, int | float):
        words.append(f"last update {age_s:.1f} s ago")
    return ", ".join(words)
