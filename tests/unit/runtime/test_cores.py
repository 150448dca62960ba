"""The processes of one machine share its cores, and the dead ones count no more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from p2pfl.runtime import cores
from p2pfl.runtime.cores import CoreShare, cores_here

HOLD = """
import sys, time
from pathlib import Path
from p2pfl.runtime.cores import CoreShare
with CoreShare("auto", folder=Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def share(folder: Path) -> CoreShare:
    return CoreShare("auto", cores=8, folder=folder / "nodes")


def test_a_process_alone_has_all_cores(tmp_path: Path) -> None:
    with share(tmp_path) as alone:
        assert alone.threads() == 8


def test_processes_divide_the_cores_and_get_them_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "_COUNT_EVERY_S", 0.0)
    with share(tmp_path) as one:
        with share(tmp_path) as two, share(tmp_path) as three:
            assert [each.threads() for each in (one, two, three)] == [2, 2, 2]
        assert one.threads() == 8


def test_there_is_always_one_thread(tmp_path: Path) -> None:
    with (
        CoreShare("auto", cores=1, folder=tmp_path / "nodes") as one,
        CoreShare("auto", cores=1, folder=tmp_path / "nodes"),
    ):
        assert one.threads() == 1


def test_a_number_is_a_number(tmp_path: Path) -> None:
    with CoreShare(3, cores=8, folder=tmp_path / "nodes") as fixed, share(tmp_path) as other:
        assert fixed.threads() == 3
        assert other.threads() == 4


def test_a_killed_process_is_counted_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "_COUNT_EVERY_S", 0.0)
    folder = str(tmp_path / "nodes")
    command = [sys.executable, "-c", HOLD, folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with share(tmp_path) as mine:
            assert mine.threads() == 4
            other.kill()
            other.wait()
            assert mine.threads() == 8
            assert len(os.listdir(folder)) == 1  # noqa: PTH208 - names will do


def test_a_folder_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with CoreShare("auto", cores=8, folder=tmp_path / "file" / "nodes") as alone:
        assert alone.threads() == 8


def test_a_containers_quota_counts(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text("100000 100000\n")
    assert cores_here(quota) == 1
    quota.write_text("max 100000\n")
    assert cores_here(quota) == cores_here(tmp_path / "none") >= 1
