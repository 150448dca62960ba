"""The allocator of a node's process: what one message has freed, the next one takes."""

import ctypes
import sys
from contextlib import suppress
from typing import Final

LARGE_BYTES: Final = 32 * 1024 * 1024
"""What is larger goes back to the system as soon as it is freed. Below 32 MB gradients of models of
a million parameters would go, too, and come back with every step."""

KEPT_BYTES: Final = 2 * LARGE_BYTES
"""So much freed memory stays with the process, which is no more than the library's own rule may."""

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
"""`malloc.h` of the GNU C library."""


def keep_freed_memory() -> bool:
    """From now on keep freed memory instead of giving it back; False where the system has no say.

    What was freed before, as data was loaded, is given back first. By default the GNU C library
    gives back what a message of half a megabyte took and takes it anew for the next, page by page:
    more than half of what the MQTT client costs then. It concerns the whole process.
    """
    if sys.platform != "linux":
        return False
    with suppress(OSError, AttributeError):  # Another C library, such as musl.
        library = ctypes.CDLL(None)
        library.malloc_trim(0)
        given = ((_MMAP_THRESHOLD, LARGE_BYTES), (_TRIM_THRESHOLD, KEPT_BYTES))
        return all(library.mallopt(which, size) for which, size in given)
    return False
