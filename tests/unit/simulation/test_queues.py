"""A link of limited bandwidth: order, time on the way, and the newest wins."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clock import VirtualClock

from p2pfl.simulation.queues import LinkQueue


class Link:
    """A queue at 10 bytes per second that writes down what becomes of each thing."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.done: list[tuple[float, str]] = []
        self.superseded: list[str] = []
        self.queue: LinkQueue[str] = LinkQueue(
            self.clock,
            10.0,
            done=lambda thing: self.done.append((self.clock.now_s, thing)),
            superseded=self.superseded.append,
        )

    def put(self, thing: str, size_bytes: int = 10, *, number: int = 0, key: str = "") -> None:
        self.queue.put(thing, size_bytes, key=key or thing, number=number)


@pytest.fixture
def link() -> Link:
    return Link()


def test_things_go_one_after_another_each_as_long_as_its_bytes_take(link: Link) -> None:
    for thing, size_bytes in (("a", 10), ("b", 20), ("c", 5)):
        link.put(thing, size_bytes)
    assert len(link.queue) == 3
    link.clock.run()
    assert link.done == [(1.0, "a"), (3.0, "b"), (3.5, "c")]
    assert len(link.queue) == 0


def test_an_idle_link_starts_at_once(link: Link) -> None:
    link.put("a")
    link.clock.run()
    link.clock.at(5.0, lambda: link.put("b"))
    link.clock.run()
    assert link.done == [(1.0, "a"), (6.0, "b")]


def test_a_newer_thing_takes_the_turn_of_the_older_one_that_waits(link: Link) -> None:
    link.put("first")
    link.put("old", key="x", number=1)
    link.put("last")
    link.put("new", key="x", number=2)
    link.clock.run()
    assert [thing for _, thing in link.done] == ["first", "new", "last"]
    assert link.superseded == ["old"]


def test_what_is_on_its_way_is_not_called_back(link: Link) -> None:
    link.put("old", key="x", number=1)
    link.put("new", key="x", number=2)
    link.clock.run()
    assert [thing for _, thing in link.done] == ["old", "new"]
    assert not link.superseded


def test_a_late_thing_never_replaces_a_newer_one_that_waits(link: Link) -> None:
    link.put("first")
    link.put("new", key="x", number=2)
    link.put("late", key="x", number=1)
    link.put("again", key="x", number=2)
    link.clock.run()
    assert [thing for _, thing in link.done] == ["first", "new", "late", "again"]


def test_a_halted_link_sends_nothing_and_begins_anew_what_was_cut_short(link: Link) -> None:
    link.put("a")
    link.put("b")
    link.clock.at(0.5, link.queue.halt)
    link.clock.at(7.0, link.queue.resume)
    link.clock.run()
    assert link.done == [(8.0, "a"), (9.0, "b")]


def test_a_newer_thing_may_replace_what_was_cut_short(link: Link) -> None:
    link.put("old", key="x", number=1)
    link.put("new", key="x", number=2)
    link.queue.halt()
    link.put("newest", key="x", number=3)
    link.queue.resume()
    link.clock.run()
    assert [thing for _, thing in link.done] == ["newest"]
    assert link.superseded == ["old", "new"]


def test_a_cleared_link_forgets_even_what_is_on_its_way(link: Link) -> None:
    link.put("a")
    link.put("b")
    link.clock.at(0.5, link.queue.clear)
    link.clock.at(2.0, lambda: link.put("c"))
    link.clock.run()
    assert link.done == [(3.0, "c")]
    assert not link.superseded


@given(
    st.lists(
        st.tuples(st.floats(0.0, 20.0), st.sampled_from("xyz"), st.integers(1, 40)), max_size=40
    )
)
def test_everything_comes_out_once_or_gives_way_to_a_newer_one(
    puts: list[tuple[float, str, int]],
) -> None:
    """At most one waits per key; per key numbers grow; the link is never faster than it is."""
    link = Link()
    sizes: dict[str, int] = {}
    longest = 0
    for number, (at_s, key, size_bytes) in enumerate(sorted(puts)):
        thing = f"{key}{number}"
        sizes[thing] = size_bytes

        def put(key: str = key, size: int = size_bytes, number: int = number) -> None:
            nonlocal longest
            link.put(f"{key}{number}", size, key=key, number=number)
            longest = max(longest, len(link.queue))

        link.clock.at(at_s, put)
    link.clock.run()
    out = [thing for _, thing in link.done]
    assert sorted(out + link.superseded) == sorted(sizes)
    assert longest <= 4
    for key in "xyz":
        numbers = [int(thing[1:]) for thing in out if thing[0] == key]
        assert numbers == sorted(numbers)
        last = [thing for thing in sizes if thing[0] == key][-1:]
        assert not last or last[0] in out
    for (before_s, _), (then_s, thing) in zip(link.done, link.done[1:], strict=False):
        assert then_s - before_s >= sizes[thing] / 10.0 - 1e-9
