"""Your own torch module, with a loss of its own; simulated, then for real over a broker.

python examples/own_torch.py
p2pfl simulate examples/digits.toml --set model.kind=own_torch:make_model      # or `run`
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

import p2pfl

HERE = Path(__file__).parent


class Digits(nn.Module):
    """Any module does. Without `training_loss` cross entropy of the outputs is minimised."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.layers(x)
        return outputs

    def training_loss(self, x: Tensor, y: Tensor) -> Tensor:
        noisy = x + 0.1 * torch.randn_like(x)  # drawn from the experiment's seed
        return functional.cross_entropy(self(noisy), y, label_smoothing=0.1)


def make_model() -> nn.Module:
    return Digits()


def main() -> None:
    experiment = p2pfl.load_experiment(HERE / "digits.toml").replace(
        topology=p2pfl.Topology(kind="path", nodes=2),
        model=p2pfl.Model(kind="own_torch:make_model"),
        compute=p2pfl.Compute(step_s=0.005),
        stop=p2pfl.Stop(steps=200),
    )
    print(p2pfl.compare(p2pfl.simulate(experiment)))
    print(p2pfl.compare(p2pfl.run_experiment(experiment)))


if __name__ == "__main__":
    main()
