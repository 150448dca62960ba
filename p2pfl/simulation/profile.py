"""Where a simulation's time goes, by a clock that is handed in: the simulator has none itself."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Literal, ParamSpec, TypeVar, cast, get_args

from p2pfl.algorithms.base import Algorithm
from p2pfl.learning.trainer import Trainer

Part = Literal["start-up", "training", "mixing", "events", "evaluation", "writing"]
PARTS: Final[tuple[Part, ...]] = get_args(Part)
P = ParamSpec("P")
T = TypeVar("T")

_TRAINER: Final[Mapping[str, Part]] = {
    "train": "training",
    "train_rows": "training",
    "evaluate": "evaluation",
}
_ALGORITHM: Final[Mapping[str, Part]] = {
    "advance": "mixing",
    "finish": "mixing",
    "hear": "mixing",
    "served": "mixing",
}


class Profile:
    """Seconds by part, each counted once: what happens within a part belongs to the inner one.

    It counts from the moment it is made, first as start-up. `events` is all that the simulation
    does beside its other parts: the heap, the nodes' decisions, messages and bytes.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seconds: dict[Part, float] = dict.fromkeys(PARTS, 0.0)
        self._parts: list[Part] = ["start-up"]
        self._since_s = clock()

    def __repr__(self) -> str:
        told = ", ".join(f"{part} {value:.3g} s" for part, value in self.seconds.items())
        return f"<Profile {told}>"

    @property
    def seconds(self) -> Mapping[Part, float]:
        """What each part has taken so far, in the order of `PARTS`."""
        self._count()
        return dict(self._seconds)

    @contextmanager
    def during(self, part: Part) -> Iterator[None]:
        """What is done within is counted under this part."""
        self._begin(part)
        try:
            yield
        finally:
            self._end()

    def counted(self, part: Part, function: Callable[P, T]) -> Callable[P, T]:
        """The function, its time counted under this part."""

        def call(*args: P.args, **named: P.kwargs) -> T:
            self._begin(part)
            try:
                return function(*args, **named)
            finally:
                self._end()

        return call

    def trainer(self, trainer: Trainer) -> Trainer:
        """The same trainer, its training and evaluation counted."""
        return cast("Trainer", _Counted(trainer, self, _TRAINER))

    def algorithm(self, algorithm: Algorithm[Any]) -> Algorithm[Any]:
        """The same algorithm, its arithmetic on models counted as mixing."""
        return cast("Algorithm[Any]", _Counted(algorithm, self, _ALGORITHM))

    def _begin(self, part: Part) -> None:
        self._count()
        self._parts.append(part)

    def _end(self) -> None:
        self._count()
        self._parts.pop()

    def _count(self) -> None:
        now_s = self._clock()
        self._seconds[self._parts[-1]] += now_s - self._since_s
        self._since_s = now_s


class _Counted:
    """Another object, some of its methods counted by a profile."""

    def __init__(self, inner: object, profile: Profile, methods: Mapping[str, Part]) -> None:
        self._inner = inner
        for name, part in methods.items():
            if not hasattr(inner, name):
                continue
            setattr(self, name, profile.counted(part, getattr(inner, name)))

    def __getattr__(self, name: str) -> object:
        """What is not counted is the other object's."""
        return getattr(self._inner, name)
