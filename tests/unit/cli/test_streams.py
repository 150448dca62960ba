"""What a reader or a disk does not take stops no command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from p2pfl.cli.streams import Lasting

TELLS = [sys.executable, "-m", "p2pfl", "topology", "ring.toml"]
RING = 'kind = "ring"\nnodes = 4\n'


def test_a_reader_that_goes_away_ends_nothing() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8") as stream:
        lasting = Lasting(stream)
        lasting.write("heard\n")
        lasting.flush()
        assert os.read(reading, 100) == b"heard\n"
        os.close(reading)
        for _ in range(2):
            lasting.write("not heard\n")
            lasting.flush()
        lasting.settle()


def test_a_full_disk_ends_nothing() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as stream:
        lasting = Lasting(stream)
        assert lasting.write("x" * 100_000) == 100_000
        lasting.flush()
        lasting.settle()


@pytest.mark.parametrize("redirected", [">/dev/full", ">&-", ">&- 2>&- <&-", "2>/dev/full"])
def test_a_command_ends_as_ever_wherever_its_words_go(tmp_path: Path, redirected: str) -> None:
    (tmp_path / "ring.toml").write_text(RING)
    script = f'"$@" {redirected}'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *TELLS],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
