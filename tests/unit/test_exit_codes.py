"""How processes end, and that the documents say the same."""

import re
from pathlib import Path

import pytest

from p2pfl.errors import (
    ConfigError,
    CrashError,
    DataError,
    P2pflError,
    ProtocolError,
    RefusedError,
    TransportError,
)
from p2pfl.exit_codes import ExitCode, code_of


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (DataError("x"), 2),
        (TransportError("x"), 3),
        (RefusedError("x"), 4),
        (CrashError("x", "trace"), 1),
        (ProtocolError("x"), 1),
    ],
)
def test_the_code_says_whose_fault_it_is(error: P2pflError, code: int) -> None:
    assert code_of(error) == code


def test_the_documents_have_every_code() -> None:
    text = (Path(__file__).parents[2] / "docs" / "operation.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| (\d+) \|", text, re.MULTILINE)
    assert [int(code) for code in told] == sorted(ExitCode)
