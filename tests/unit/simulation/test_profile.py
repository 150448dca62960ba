"""Where the time of a simulation goes: each second counted once, and nothing else changed."""

from collections.abc import Callable
from itertools import count

import pytest

from p2pfl.config.load import config_from_mapping
from p2pfl.experiment import Experiment
from p2pfl.simulation.profile import PARTS, Profile
from p2pfl.simulation.simulate import simulate


class Hand:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_an_inner_part_is_not_counted_as_the_outer_one() -> None:
    clock = Hand()
    profile = Profile(clock)
    clock.now_s += 1.0
    with profile.during("events"):
        clock.now_s += 2.0
        with profile.during("training"):
            clock.now_s += 4.0
        clock.now_s += 8.0
    clock.now_s += 16.0
    found = profile.seconds
    assert tuple(found) == PARTS
    assert (found["start-up"], found["events"], found["training"]) == (17.0, 10.0, 4.0)
    assert repr(profile).startswith("<Profile start-up 17 s, training 4 s")


def test_what_raises_is_counted_too_and_left() -> None:
    clock = Hand()
    profile = Profile(clock)

    def fail() -> None:
        clock.now_s += 1.0
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        profile.counted("mixing", fail)()
    clock.now_s += 2.0
    assert (profile.seconds["mixing"], profile.seconds["start-up"]) == (1.0, 2.0)


def _bowls(kind: str) -> Experiment:
    table = {
        "name": "bowls",
        "topology": {"kind": "ring", "nodes": 4},
        "data": "quadratic",
        "model": "quadratic",
        "algorithm": {"kind": kind},
        "training": {"learning_rate": 0.05, "local_steps": 2},
        "stop": {"time_s": 1.0},
    }
    return Experiment(config_from_mapping(table, source="test"))


@pytest.mark.parametrize("kind", ["pull_mix", "dpsgd", "fedavg"])
def test_a_profiled_run_is_the_same_run(kind: str) -> None:
    ticks: Callable[[], int] = count().__next__
    profile = Profile(ticks)
    watched, alone = simulate(_bowls(kind), profile=profile), simulate(_bowls(kind))
    assert watched.trace_hash == alone.trace_hash
    assert all((watched.served[node] == alone.served[node]).all() for node in alone.served)
    taken = profile.seconds
    assert all(taken[part] > 0 for part in ("training", "mixing", "events", "evaluation"))
    assert taken["writing"] == 0
