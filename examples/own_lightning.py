"""A Lightning module as it is, simulated, then for real; pip install pytorch-lightning.

python examples/own_lightning.py
p2pfl simulate examples/digits.toml --set model.kind=own_lightning:make_model
"""

from pathlib import Path

import pytorch_lightning as lightning
import torch
from torch import Tensor, nn
from torch.nn import functional

import p2pfl

HERE = Path(__file__).parent


class LitDigits(lightning.LightningModule):  # type: ignore[misc] # its types are not read
    """`training_step` gives the loss; the optimizer must be the experiment's, or it is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.layers(x)
        return outputs

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        loss = functional.cross_entropy(self(x), y)
        self.log("train_loss", loss)  # goes nowhere: p2pfl measures
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def make_model() -> nn.Module:
    return LitDigits()


def main() -> None:
    experiment = p2pfl.load_experiment(HERE / "digits.toml").replace(
        topology=p2pfl.Topology(kind="path", nodes=2),
        model=p2pfl.Model(kind="own_lightning:make_model"),
        compute=p2pfl.Compute(step_s=0.005),
        stop=p2pfl.Stop(steps=200),
    )
    print(p2pfl.compare(p2pfl.simulate(experiment)))
    print(p2pfl.compare(p2pfl.run_experiment(experiment)))


if __name__ == "__main__":
    main()
