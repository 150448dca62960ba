"""How many threads torch uses inside one operation."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

from p2pfl.algorithms.rows import ALONE, Spread


def use_threads(count: int) -> None:
    """So many threads for operations that the calling thread begins, from now on."""
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)


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


@contextmanager
def spread_over_threads() -> Iterator[Spread]:
    """Work in as many parts as torch has threads (`OMP_NUM_THREADS`), a thread for each.

    Every operation runs in one thread in here; the parts are what runs side by side.
    """
    threads = torch.get_num_threads()
    with one_thread():
        if threads == 1:
            yield ALONE
            return
        with ThreadPoolExecutor(threads, "spread") as pool:

            def run(work: Callable[[int], None]) -> None:
                for done in [pool.submit(work, part) for part in range(threads)]:
                    done.result()

            yield Spread(threads, run)
