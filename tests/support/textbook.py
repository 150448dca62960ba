"""Synchronous rules as papers have them: all models in one float64 array, one mixing matrix."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Models = NDArray[np.float64]
"""One model per node, `[n, d]`."""
Gradient = Callable[[Models], Models]


def dpsgd(w: Models, g: Gradient, x: Models, *, rate: float, rounds: int) -> Models:
    """X+ = W X - gamma G(W X)."""
    for _ in range(rounds):
        x = w @ x - rate * g(w @ x)
    return x


def qg_dsgdm(w: Models, g: Gradient, x: Models, *, rate: float, rounds: int, beta: float) -> Models:
    """Z = W X, X+ = Z - gamma (G(Z) + beta M), M+ = beta M + (1 - beta) (Z - Z+) / gamma."""
    m = np.zeros_like(x)
    for _ in range(rounds):
        z = w @ x
        x = z - rate * (g(z) + beta * m)
        m = beta * m + (1.0 - beta) * (z - w @ x) / rate
    return x


def gradient_tracking(w: Models, g: Gradient, x: Models, *, rate: float, rounds: int) -> Models:
    """X+ = W (X - gamma Y), Y+ = W Y + G+ - G with Y = G at first; given back is X - gamma Y."""
    y = g(x)
    for _ in range(rounds - 1):
        after = w @ (x - rate * y)
        y = w @ y + g(after) - g(x)
        x = after
    return x - rate * y


def d2(w: Models, g: Gradient, x: Models, *, rate: float, rounds: int) -> Models:
    """X+ = W~ (2 X - X- - gamma (G - G-)), W~ = (I + W) / 2; given back without the last W~."""
    lazy = (np.eye(len(w)) + w) / 2.0
    before, x = x, lazy @ (x - rate * g(x))
    for _ in range(1, rounds):
        inside = 2.0 * x - before - rate * (g(x) - g(before))
        before, x = x, lazy @ inside
    return inside


def relay_sum(tree: Models, g: Gradient, x: Models, *, rate: float, rounds: int) -> Models:
    """Messages and counts along every link of a tree; given back is what has not been averaged."""
    n, links = len(x), [(int(i), int(j)) for i, j in np.argwhere(tree) if i != j]
    hears = {j: [i for i, to in links if to == j] for j in range(n)}
    sums = {link: (np.zeros_like(x[0]), 0) for link in links}
    half = x
    for _ in range(rounds):
        said = {}
        for i, j in links:
            before = [sums[k, i] for k in hears[i] if k != j]
            total = half[i] + sum((m for m, _ in before), np.zeros_like(x[0]))
            said[i, j] = total, 1 + sum(c for _, c in before)
        sums = said
        for j in range(n):
            count = 1 + sum(sums[i, j][1] for i in hears[j])
            total = half[j] + sum((sums[i, j][0] for i in hears[j]), np.zeros_like(x[0]))
            x = np.concatenate([x[:j], [total / count], x[j + 1 :]])
        half = x - rate * g(x)
    return half


def dsgdm(w: Models, g: Gradient, x: Models, *, rate: float, rounds: int, beta: float) -> Models:
    """M+ = beta M + G(W X), X+ = W X - gamma M+."""
    m = np.zeros_like(x)
    for _ in range(rounds):
        m = beta * m + g(w @ x)
        x = w @ x - rate * m
    return x
