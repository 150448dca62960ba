"""FedAvg: w(r+1) = w(r) + sum_k p_k (w_k - w(r)) over a cohort, p_k by numbers of samples.

With `normalise` each update is divided by its number of local steps (FedNova), so that clients
who do more steps do not pull the optimum towards theirs; where the experiment says what each
objective weighs, updates always are.

Source: McMahan, Moore, Ramage, Hampson, Arcas, "Communication-efficient learning of deep networks
from decentralized data", AISTATS 2017; Wang, Liu, Liang, Joshi, Poor, "Tackling the objective
inconsistency problem in heterogeneous federated optimization", NeurIPS 2020 (FedNova, for plain
SGD).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from p2pfl.algorithms.base import Local
from p2pfl.algorithms.star_client import RoundClient
from p2pfl.algorithms.star_rounds import Answer, RoundServer, ServerState, mean_update
from p2pfl.types import Vector, frozen


@dataclass(frozen=True, slots=True)
class FedAvgServer(RoundServer[None]):
    """Goes where its clients go on average."""

    normalise: bool = False

    def remembered(self, x0: Vector) -> None:
        """Nothing."""

    def combined(
        self, state: ServerState[None], local: Local, answers: Sequence[Answer]
    ) -> tuple[Vector, None]:
        """The mean of the answers."""
        normalise = self.normalise or bool(self.weights)
        return frozen(state.x + mean_update(state.x, answers, normalise=normalise)), None


@dataclass(frozen=True, slots=True)
class FedAvgClient(RoundClient[None]):
    """Trains and answers."""

    def remembered(self, x0: Vector) -> None:
        """Nothing."""
