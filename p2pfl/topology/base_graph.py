"""Base-(k+1) graphs: exact averaging in few rounds, with at most k peers, for any number of nodes.

Three constructions, each built on the one before. All weights are symmetric, every round keeps the
mean, and the product of all rounds is 1/n everywhere.

Source: Y. Takezawa, R. Sato, H. Bao, K. Niwa, M. Yamada, "Beyond Exponential Graph:
Communication-Efficient Topologies for Decentralized Learning via Finite-time Convergence", 2023.
"""

from collections.abc import Sequence
from functools import cache
from itertools import combinations

from p2pfl.errors import ConfigError
from p2pfl.topology.generators import check_at_least
from p2pfl.topology.schedules import (
    Schedule,
    WeightedEdge,
    from_edges_per_round,
)

Rounds = list[list[WeightedEdge]]


def hyper_hypercube(nodes: int, *, degree: int) -> Schedule:
    """The k-peer hyper-hypercube: one round of complete groups for each factor of n.

    Raises:
        ConfigError: n has a prime factor above degree + 1, or a number is out of range.
    """
    _check("hyper-hypercube", nodes, degree)
    if _factors(nodes, degree + 1) is None:
        raise ConfigError(
            f"topology: nodes = {nodes} has a prime factor above degree + 1 = {degree + 1}, so no "
            'hyper-hypercube; take kind = "base", which is exact for every number of nodes'
        )
    return from_edges_per_round(nodes, _hypercube(range(nodes), degree))


def simple_base(nodes: int, *, degree: int) -> Schedule:
    """The simple base-(k+1) graph: n written in base k + 1, each digit a hyper-hypercube.

    Raises:
        ConfigError: a number is out of range.
    """
    _check("simple base graph", nodes, degree)
    return from_edges_per_round(nodes, _simple(range(nodes), degree))


def base(nodes: int, *, degree: int) -> Schedule:
    """The base-(k+1) graph: the shorter of two, of at most 2 log_{k+1}(n) + 2 rounds.

    Either the simple one, or n = p q with p of small factors only: simple ones of q nodes side
    by side, then a hyper-hypercube across the p of them.

    Raises:
        ConfigError: a number is out of range.
    """
    _check("base graph", nodes, degree)
    simple = _simple(range(nodes), degree)
    smooth = _smooth_part(nodes, degree + 1)
    rest = nodes // smooth
    parts = [_simple(range(p * rest, (p + 1) * rest), degree) for p in range(smooth)]
    across = [_hypercube(range(q, nodes, rest), degree) for q in range(rest)]
    split = _together(parts) + _together(across)
    return from_edges_per_round(nodes, split if len(split) < len(simple) else simple)


def _check(kind: str, nodes: int, degree: int) -> None:
    check_at_least(kind, "nodes", nodes, least=2)
    if not 1 <= degree < nodes:
        raise ConfigError(
            f"topology: degree = {degree}; a {kind} of {nodes} nodes needs 1 to {nodes - 1} peers "
            "per round"
        )


def _hypercube(members: Sequence[int], degree: int) -> Rounds:
    """One round per factor: those who differ in this digit only form a complete group.

    Positions are numbers in the mixed radix of the factors; afterwards all hold the mean.
    """
    factors = _factors(len(members), degree + 1)
    assert factors is not None
    rounds, stride = [], 1
    for factor in factors:
        firsts = [i for i in range(len(members)) if i // stride % factor == 0]
        rounds.append(
            [
                (members[a], members[b], 1.0 / factor)
                for first in firsts
                for a, b in combinations(range(first, first + factor * stride, stride), 2)
            ]
        )
        stride *= factor
    return rounds


def _simple(members: Sequence[int], degree: int) -> Rounds:
    """See `simple_base`: digits meet from the largest to the smallest, and all then finish.

    First each digit's nodes reach their own mean. Then, digit by digit, everybody of the smaller
    digits meets one fresh node of each of the digit's groups, with the weight that makes the means
    of both sides the mean of all. Last, each group spreads its mean, at the same time as the
    smaller digits go on meeting.
    """
    if _factors(len(members), degree + 1) is not None:
        return _hypercube(members, degree)
    digits = _digits(members, degree + 1)
    rounds = _together([_hypercube([i for g in d for i in g], degree) for d in digits])
    begin = len(rounds)
    for number, groups in enumerate(digits[:-1]):
        smaller = [i for later in digits[number + 1 :] for group in later for i in group]
        size = sum(len(group) for group in groups)
        weight = size / (len(groups) * (size + len(smaller)))
        meeting = [(group[m], i, weight) for group in groups for m, i in enumerate(smaller)]
        spread = _together([_hypercube(group, degree) for group in groups])
        for offset, edges in enumerate([meeting, *spread]):
            at = begin + number + offset
            rounds += [[] for _ in range(at + 1 - len(rounds))]
            rounds[at] = rounds[at] + edges
    return rounds


def _digits(members: Sequence[int], radix: int) -> list[list[Sequence[int]]]:
    """The digits of n that are not 0, largest first: each as many groups of radix^p members."""
    power = 1
    while power * radix <= len(members):
        power *= radix
    digits, at = [], 0
    while power:
        count = (len(members) - at) // power
        if count:
            digits.append([members[at + g * power : at + (g + 1) * power] for g in range(count)])
            at += count * power
        power //= radix
    return digits


def _together(parts: Sequence[Rounds]) -> Rounds:
    """The schedules of disjoint sets of nodes side by side; the shorter ones then rest."""
    length = max(len(part) for part in parts)
    return [
        [edge for part in parts for edge in (part[t : t + 1] or [[]])[0]] for t in range(length)
    ]


@cache
def _factors(number: int, largest: int) -> tuple[int, ...] | None:
    """The fewest factors from 2 to `largest` whose product is the number; None: there are none."""
    if number == 1:
        return ()
    best: tuple[int, ...] | None = None
    for factor in range(min(number, largest), 1, -1):
        if number % factor:
            continue
        rest = _factors(number // factor, largest)
        if rest is not None and (best is None or len(rest) + 1 < len(best)):
            best = (factor, *rest)
    return best


def _smooth_part(number: int, largest: int) -> int:
    """The largest divisor without a prime factor above `largest`."""
    smooth, prime = 1, 2
    while prime <= largest and number > 1:
        while number % prime == 0:
            number //= prime
            smooth *= prime
        prime += 1
    return smooth
