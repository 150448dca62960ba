"""FedProx: FedAvg whose clients are held near the global model while they train.

Client k minimises f_k(x) + mu/2 ||x - w(r)||^2: each gradient gets mu (x - w(r)). That shrinks
the drift towards the clients' own optima, and the progress of a round with it.

Source: Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith, "Federated optimization in heterogeneous
networks", MLSys 2020.
"""

from dataclasses import dataclass

from p2pfl.algorithms.base import TrainPlan
from p2pfl.algorithms.fedavg import FedAvgClient
from p2pfl.algorithms.star_client import ClientState


@dataclass(frozen=True, slots=True)
class FedProxClient(FedAvgClient):
    """A FedAvg client on a leash."""

    proximal: float = 0.1
    """mu; the paper tunes it from 0.001 to 1."""

    def plan(self, state: ClientState[None]) -> TrainPlan:
        """With the proximal term."""
        return TrainPlan(state.x, fresh_optimizer=True, proximal=self.proximal)
