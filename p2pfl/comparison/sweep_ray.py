"""The cells of a sweep on a Ray cluster; the one home of ray.

What travels is text: a task as JSON, its answer as JSON. Each machine of the cluster needs p2pfl
(the same version) and, at the same path, the files that the experiment names.
"""

import logging
import socket
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Final, Self

from p2pfl.comparison.sweep_cell import CellTask, answer_task, task_to_line
from p2pfl.comparison.sweep_workers import Failed, News, news_of
from p2pfl.errors import ConfigError, TransportError

_RETRIES: Final = 2
"""A run is a pure function: one whose machine died is run again elsewhere, so often."""

_CLIENT: Final = "ray://"
_KNOCK_S: Final = 5.0

_PER_CORE: Final = 2
"""Tasks handed over per core, so that none is idle while an answer travels."""


class RayWorkers:
    """A Ray cluster at `address`; at most `jobs` cells run at a time.

    `host:port` or `auto` on a machine of the cluster, `ray://host:port` from outside, `local` for
    a new one on this machine alone.

    A process that is connected already keeps its connection, and the address is not used.
    """

    def __init__(self, address: str, jobs: int | None = None) -> None:
        self.address = address
        self.jobs = jobs
        self._ray: Any = None
        self._own = False

    def __repr__(self) -> str:
        return f"RayWorkers({self.address!r}, jobs={self.jobs})"

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            ConfigError: ray is not installed.
            TransportError: there is no cluster at the address.
        """
        try:
            import ray
        except ImportError as error:
            raise ConfigError(
                "--ray needs the package ray: pip install 'p2pfl-gossip[ray]'"
            ) from error
        self._ray = ray
        if not ray.is_initialized():
            _knock(self.address)
            try:
                ray.init(
                    address=self.address,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    configure_logging=False,
                )
            except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                first = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise TransportError(
                    f"--ray {self.address}: no Ray cluster answers there: {first}"
                ) from error
            self._own = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the cluster; it ends what this process still had running there."""
        if self._own:
            self._ray.shutdown()
            self._own = False

    def run(self, tasks: Sequence[CellTask]) -> Iterator[News]:
        """Run them all, a core each; how far a cell is under way is not told."""
        ray = self._ray
        remote = ray.remote(num_cpus=1, max_retries=_RETRIES)(answer_task)
        waiting = list(reversed(tasks))
        running: dict[Any, str] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self._room():
                    task = waiting.pop()
                    running[remote.remote(task_to_line(task))] = task.key
                ready, _ = ray.wait(list(running), num_returns=1)
                for each in ready:
                    yield _collect(ray, each, running.pop(each))
        finally:
            for each in running:
                ray.cancel(each, force=True)

    def _room(self) -> int:
        """How many cells may be with the cluster; it may grow while the sweep runs."""
        if self.jobs is not None:
            return self.jobs
        return max(1, _PER_CORE * int(self._ray.cluster_resources().get("CPU", 1)))


def _knock(address: str) -> None:
    """Make sure that something listens there: Ray itself would try for minutes.

    Raises:
        ConfigError: this is no address.
        TransportError: nobody listens.
    """
    if address in {"auto", "local"}:
        return
    host, colon, port = address.removeprefix(_CLIENT).rpartition(":")
    if not colon or not host or not port.isdecimal():
        raise ConfigError(
            f"--ray {address}: allowed: auto, local, host:port or ray://host:port, as in"
            " 192.0.2.1:6379"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_S).close()
    except (OSError, OverflowError) as error:
        raise TransportError(f"--ray {address}: nobody answers there: {error}") from error


def _collect(ray: Any, answer: Any, key: str) -> News:  # noqa: ANN401 - ray's own objects
    try:
        return news_of(key, ray.get(answer))
    except ray.exceptions.RayError as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        # A remote traceback ends with what went wrong; Ray's own troubles begin with it.
        sentence = lines[-1 if isinstance(error, ray.exceptions.RayTaskError) else 0]
        return Failed(key=key, sentence=f"Ray: {sentence}", details=str(error))
