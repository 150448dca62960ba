"""An existing Flower `NumPyClient`: its data, its model and its training loop as they are.

python examples/own_flower.py              # simulated, then for real; works without flwr, too
In a file: data = "client", and [model] kind = "own_flower:client_fn".
"""

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

import p2pfl

try:
    from flwr.client import NumPyClient
except ImportError:
    NumPyClient = object  # a client is known by its methods

HERE = Path(__file__).parent
Arrays = list[np.ndarray[Any, Any]]
Config = dict[str, Any]


class DigitsClient(NumPyClient):  # type: ignore[misc] # flwr may not be here
    """Softmax regression in numpy, on every n-th of the digits."""

    def __init__(self, part: int, parts: int) -> None:
        digits = load_digits()
        self.x, self.y = digits.data[part::parts] / 16, digits.target[part::parts]
        self.num_examples = len(self.x)

    def get_parameters(self, config: Config) -> Arrays:
        return [np.zeros((64, 10)), np.zeros(10)]

    def fit(self, parameters: Arrays, config: Config) -> tuple[Arrays, int, Config]:
        w, b = parameters
        order = np.random.default_rng(config["server_round"]).permutation(len(self.x))
        for some in order[: 16 * config["local_steps"]].reshape(-1, 16):
            error = self._says(w, b)[some] - np.eye(10)[self.y[some]]
            w, b = w - 0.1 * self.x[some].T @ error / 16, b - 0.1 * error.mean(0)
        return [w, b], 16 * config["local_steps"], {}

    def evaluate(self, parameters: Arrays, config: Config) -> tuple[float, int, Config]:
        right = float((self._says(*parameters).argmax(1) == self.y).mean())
        return 1.0 - right, len(self.x), {"accuracy": right}

    def _says(self, w: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        e = np.exp(self.x @ w + b)
        return np.asarray(e / e.sum(1, keepdims=True))


def client_fn(context: Any) -> DigitsClient:  # noqa: ANN401 - flwr's Context, if it is there
    where = context.node_config
    return DigitsClient(where["partition-id"], where["num-partitions"])


def main() -> None:
    experiment = p2pfl.load_experiment(HERE / "digits.toml").replace(
        topology=p2pfl.Topology(kind="path", nodes=2),
        data=p2pfl.Data(kind="client"),
        partition=p2pfl.Partition(),
        model=p2pfl.Model(kind="own_flower:client_fn"),
        training=p2pfl.Training(learning_rate=0.1, local_steps=4),
        compute=p2pfl.Compute(step_s=0.005),
        stop=p2pfl.Stop(steps=200),
    )
    print(p2pfl.compare(p2pfl.simulate(experiment)))
    print(p2pfl.compare(p2pfl.run_experiment(experiment)))


if __name__ == "__main__":
    main()
