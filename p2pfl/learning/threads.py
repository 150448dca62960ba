"""How many threads torch uses inside one operation."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread in here, as many as before afterwards.

    Small operations gain nothing from a second thread, and on a busy machine they wait for it:
    measured, 1,000 evaluations of a small network take 0.17 s with one and 16 s with two.
    One is also what makes the bits of a run the same on machines of the same kind.
    """
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
