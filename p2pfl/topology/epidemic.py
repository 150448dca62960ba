"""Epidemic Learning: every round each node sends its model to s random others.

Source: M. de Vos, S. Farhadkhani, R. Guerraoui, A.-M. Kermarrec, R. Pires, R. Sharma, "Epidemic
Learning: Boosting Decentralized Learning with Randomized Communication", 2023.
"""

from typing import Final

from p2pfl.draws import draw_bits
from p2pfl.errors import ConfigError
from p2pfl.topology.generators import check_at_least
from p2pfl.topology.schedules import Schedule, WeightedEdge, from_edges_per_round

_MAX_DRAWS: Final = 10_000
"""Of one pairing; a sparse one seldom needs a second."""

_SWAPS_PER_LINK: Final = 10
"""A pairing that so many random swaps leave improper is drawn again."""


def el_oracle(nodes: int, *, degree: int, rounds: int, seed: int) -> Schedule:
    """Each round a random digraph in which everybody sends to and hears `degree` others.

    Weights are 1 / (1 + degree): doubly stochastic. The graphs come from random pairings of
    outgoing with incoming ends, where double links and loops are swapped away.

    Raises:
        ConfigError: a number is out of range, or all rounds together join not everybody.
    """
    _check(nodes, degree, rounds)
    weight = 1.0 / (1 + degree)
    return from_edges_per_round(
        nodes,
        (
            [(a, b, weight) for a, b in _regular_digraph(nodes, degree, seed, t)]
            for t in range(rounds)
        ),
        directed=True,
    )


def el_local(nodes: int, *, degree: int, rounds: int, seed: int) -> Schedule:
    """Each round every node sends to `degree` others of its own choice, without any coordination.

    Who received r models weighs each, and its own, by 1 / (1 + r): rows sum to one, columns do in
    expectation only.

    Raises:
        ConfigError: a number is out of range, or all rounds together join not everybody.
    """
    _check(nodes, degree, rounds)
    return from_edges_per_round(
        nodes, (_sent(nodes, degree, seed, t) for t in range(rounds)), directed=True
    )


def _check(nodes: int, degree: int, rounds: int) -> None:
    check_at_least("epidemic schedule", "nodes", nodes, least=2)
    if not 1 <= degree < nodes:
        raise ConfigError(
            f"topology: degree = {degree}; in an epidemic schedule of {nodes} nodes each sends to "
            f"1 to {nodes - 1}"
        )
    if rounds < 1:
        raise ConfigError(f"topology: rounds = {rounds}; a schedule needs at least one")


def _sent(nodes: int, degree: int, seed: int, number: int) -> list[WeightedEdge]:
    received: list[list[int]] = [[] for _ in range(nodes)]
    for a in range(nodes):
        for choice in _sample(seed, f"{a}/{number}", among=nodes - 1, size=degree):
            received[choice + (choice >= a)].append(a)
    return [(a, b, 1.0 / (1 + len(senders))) for b, senders in enumerate(received) for a in senders]


def _sample(seed: int, node: str, *, among: int, size: int) -> set[int]:
    """`size` different numbers below `among`, every set equally likely, in `size` draws.

    Source: J. Bentley, B. Floyd, "Programming pearls: a sample of brilliance", 1987.
    """
    chosen: set[int] = set()
    for k, last in enumerate(range(among - size, among)):
        drawn = draw_bits(seed, node, "el_local", k) % (last + 1)
        chosen.add(last if drawn in chosen else drawn)
    return chosen


def _regular_digraph(nodes: int, degree: int, seed: int, number: int) -> list[tuple[int, int]]:
    """Pairs (from, to) of a simple digraph whose in- and out-degrees are all `degree`."""
    # A dense graph is what a sparse one leaves out.
    if degree > (nodes - 1) // 2:
        left_out = set(_regular_digraph(nodes, nodes - 1 - degree, seed, number))
        everybody = range(nodes)
        return [(a, b) for a in everybody for b in everybody if a != b and (a, b) not in left_out]
    ends = [node for node in range(nodes) for _ in range(degree)]
    drawn = (_pairing(ends, seed, f"{number}/{attempt}") for attempt in range(_MAX_DRAWS))
    # A sparse pairing is proper sooner or later.
    return next(edges for edges in drawn if edges is not None)


def _pairing(ends: list[int], seed: int, name: str) -> list[tuple[int, int]] | None:
    """Each end joined with a random one; None: no swaps made it proper."""
    keys = [draw_bits(seed, name, "el_oracle", k) for k in range(len(ends))]
    heads = [head for _, head in sorted(zip(keys, ends, strict=True))]
    edges = list(zip(ends, heads, strict=True))
    return edges if _swap_clashes_away(edges, seed, name) else None


def _swap_clashes_away(edges: list[tuple[int, int]], seed: int, name: str) -> bool:
    """Swaps the heads of loops and double links with random others; whether all are proper now."""
    seen: set[tuple[int, int]] = set()
    clashing: list[int] = []
    for k, (a, b) in enumerate(edges):
        if a == b or (a, b) in seen:
            clashing.append(k)
        else:
            seen.add((a, b))
    for swap in range(_SWAPS_PER_LINK * len(edges)):
        if not clashing:
            return True
        k = clashing[-1]
        other = draw_bits(seed, name, "el_oracle/swap", swap) % len(edges)
        (a, b), (c, d) = edges[k], edges[other]
        if other in clashing or a == d or c == b or (a, d) in seen or (c, b) in seen:
            continue
        seen -= {(c, d)}
        seen |= {(a, d), (c, b)}
        edges[k], edges[other] = (a, d), (c, b)
        clashing.pop()
    return not clashing
