"""What a node's process does with memory that it has freed."""

import platform
import resource
import subprocess
import sys

import pytest

from p2pfl.runtime.memory import LARGE_BYTES

FAULTS = """
import resource, sys
from p2pfl.runtime.memory import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
size, times = int(sys.argv[2]), int(sys.argv[3])
piece = bytes(64 * 1024)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(times):
    packet = bytearray()
    while len(packet) < size:
        packet.extend(piece)
    bytes(packet)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only the GNU C library is told"
)


def page_faults(how: str, size: int, times: int) -> int:
    words = [sys.executable, "-c", FAULTS, how, str(size), str(times)]
    return int(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def test_what_one_message_has_freed_the_next_one_takes() -> None:
    """A packet grows as it comes in, and its payload is copied out of it."""
    size, times = 512 * 1024, 100
    assert size < LARGE_BYTES
    touched = page_faults("give", size, times)
    assert page_faults("keep", size, times) < touched / 10


def test_a_large_model_goes_back_to_the_system() -> None:
    size, times = 2 * LARGE_BYTES, 3
    page_bytes = resource.getpagesize()
    assert page_faults("keep", size, times) > times * size / page_bytes
