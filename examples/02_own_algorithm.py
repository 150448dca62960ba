"""A researcher's new idea is one small class: here, mix with the nearer half of the neighbours.

python examples/02_own_algorithm.py
In a file: [algorithm] kind = "my_module:NearerHalf", with my_module.py beside it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import p2pfl
from p2pfl.algorithms.base import Advance, Finish, Local, Outgoing, TrainPlan
from p2pfl.algorithms.mixing import mix
from p2pfl.messages import Neighbour
from p2pfl.types import Vector

HERE = Path(__file__).parent


class NearerHalf(p2pfl.VectorAlgorithm):
    """Leave the farther half out; their weight goes back to self. The state is x itself."""

    def nearer(self, x: Vector, neighbours: Sequence[Neighbour]) -> list[Neighbour]:
        """Those of the usable models that are nearer to x."""
        near = [(np.linalg.norm(n.vector - x), n) for n in neighbours if n.vector is not None]
        near.sort(key=lambda pair: float(pair[0]))
        return [n for _, n in near[: (len(near) + 1) // 2]]

    def advance(
        self, state: Vector, local: Local, neighbours: Sequence[Neighbour]
    ) -> Advance[Vector]:
        """Train from the mix."""
        start = mix(state, self.nearer(state, neighbours))
        return Advance(state, train=TrainPlan(start), mixed=True)

    def finish(
        self, state: Vector, local: Local, neighbours: Sequence[Neighbour], trained: Vector
    ) -> Finish[Vector]:
        """Publish where training ended."""
        return Finish(trained, outgoing=(Outgoing(trained),))

    def served(self, state: Vector, neighbours: Sequence[Neighbour]) -> Vector:
        """What users get: the mix."""
        return mix(state, self.nearer(state, neighbours))


def main() -> None:
    digits = p2pfl.load_experiment(HERE / "digits.toml").replace(stop=p2pfl.Stop(time_s=10.0))
    own = digits.replace(algorithm=p2pfl.AlgorithmConfig(kind=f"{__name__}:NearerHalf"))
    print(p2pfl.compare(p2pfl.simulate(digits), p2pfl.simulate(own)))


if __name__ == "__main__":
    main()
