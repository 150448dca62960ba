"""Where AD-PSGD comes to rest: pairs that average, and steps from where a node was last.

Node i steps every T_i = 1 / r_i, at once asks a random neighbour, and trains on from the model that
it had right after the step, a_i, while others ask it. In the mean over chance, with x_i the mean
model over time, c_ij = r_j / d_j the rate at which j asks i, rho_i = sum_j c_ij, and
E_i = exp(-rho_i T_i / 2), what halving at each ask leaves of a distance:

    p_i = (a_i + mean over neighbours of x_j) / 2        its own ask
    n_i = sum_j c_ij a_j / rho_i                         who asks tells what it was after its step
    x_i = n_i + (p_i - n_i) (1 - E_i) / (rho_i T_i / 2)
    a_i = n_i + (p_i - n_i) E_i - h_i A_i (a_i - b_i)    h_i: learning rate times the step's size

For small steps of equal size this is `bias.pairwise`. What `rest` says of long steps is too little
here: a slow node's gradient is that of a model which has not met anybody since its last step.

Source: first principles, for the algorithm of X. Lian, W. Zhang, C. Zhang, J. Liu, "Asynchronous
Decentralized Parallel Stochastic Gradient Descent", 2018.
"""

import numpy as np
from numpy.typing import ArrayLike

from p2pfl.theory.quadratics import Real, full_curvature


def resting_pairs(
    adjacency: ArrayLike,
    rates: ArrayLike,
    curvature: ArrayLike,
    optima: ArrayLike,
    *,
    learning_rate: float,
    steps: ArrayLike = 1.0,
) -> Real:
    """Every node's mean model `[n, d]` at rest.

    `adjacency` is `[n, n]` of 0 and 1, everybody with a neighbour; `steps` (one number, or `[n]`)
    tells how much each node's updates count.
    """
    a, b = full_curvature(curvature, optima)
    n, d = b.shape
    linked, r = np.asarray(adjacency, dtype=np.float64), np.asarray(rates, dtype=np.float64)
    asked = linked * (r / linked.sum(axis=1))[None, :]
    rho = asked.sum(axis=1)
    left = np.exp(-rho / r / 2.0)
    kept = (1.0 - left) / (rho / r / 2.0)
    askers, partners = asked / rho[:, None], linked / linked.sum(axis=1)[:, None]

    def from_both(share: Real) -> tuple[Real, Real]:
        """n (1 - share) + p share, as matrices on the a_j and on the x_j."""
        halves = np.diag(share / 2.0)
        return (1.0 - share)[:, None] * askers + halves, halves @ partners

    step = (learning_rate * np.broadcast_to(np.asarray(steps, dtype=np.float64), n))[:, None, None]
    after, after_x = from_both(left)
    mean, mean_x = from_both(kept)
    own, one = np.zeros((n, d, n, d)), np.eye(d)
    own[np.arange(n), :, np.arange(n), :] = step * a
    system = np.block(
        [
            [np.kron(np.eye(n) - after, one) + own.reshape(n * d, n * d), -np.kron(after_x, one)],
            [-np.kron(mean, one), np.kron(np.eye(n) - mean_x, one)],
        ]
    )
    wanted = np.einsum("nde,ne->nd", step * a, b).ravel()
    solved = np.linalg.solve(system, np.concatenate([wanted, np.zeros(n * d)]))
    return np.asarray(solved[n * d :], dtype=np.float64).reshape(n, d)
