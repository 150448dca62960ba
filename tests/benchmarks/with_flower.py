"""The real Flower's `NumPyClient` in p2pfl: simulated and for real, with the words of its client.

`make test-flower` runs this in an environment of its own: what Flower requires contradicts what the
other tests do. Exit code 1 where something is not as it should be.
"""

import sys
from pathlib import Path

import flwr
from flwr.client import NumPyClient

import p2pfl
from p2pfl.learning.own import load_function

EXAMPLES = Path(__file__).parents[2] / "examples"


def client_fn(context: object) -> object:
    """As Flower's own apps return it."""
    client = load_function("own_flower:client_fn", folder=str(EXAMPLES))(context)
    assert isinstance(client, NumPyClient)
    return client.to_client()


def main() -> int:
    """Learn the digits; the accuracies must be those of the same client without Flower."""
    kind = f"{Path(__file__).stem}:client_fn"
    experiment = p2pfl.load_experiment(EXAMPLES / "digits.toml").replace(
        topology=p2pfl.Topology(kind="path", nodes=2),
        data=p2pfl.Data(kind="client"),
        partition=p2pfl.Partition(),
        model=p2pfl.Model(kind=kind),
        training=p2pfl.Training(learning_rate=0.1, local_steps=4),
        compute=p2pfl.Compute(step_s=0.005),
        stop=p2pfl.Stop(steps=200),
    )
    here = p2pfl.Experiment(experiment.config, folder=Path(__file__).parent)
    found = {
        f"{where} {node}": accuracy
        for where, result in (
            ("simulated", p2pfl.simulate(here)),
            ("real", p2pfl.run_experiment(here)),
        )
        for sample in result.samples[-2:]
        for node, accuracy in [(sample.node, sample.accuracy or 0.0)]
    }
    for name, accuracy in found.items():
        print(f"Flower {flwr.__version__}, {name}: accuracy {accuracy:.3f}")
    return 0 if all(accuracy > 0.8 for accuracy in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
