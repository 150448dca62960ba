import pytest
import torch
from torch import nn

from p2pfl.learning.sgd import Sgd


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_our_steps_are_those_of_pytorch(momentum: float, weight_decay: float) -> None:
    start, gradients = torch.randn(50), torch.randn(20, 50)
    parameter = nn.Parameter(start.clone())
    theirs = torch.optim.SGD([parameter], lr=0.1, momentum=momentum, weight_decay=weight_decay)
    ours = Sgd(momentum=momentum, weight_decay=weight_decay)
    x, velocity = start.clone(), torch.zeros(50) if momentum else None
    for gradient in gradients:
        parameter.grad = gradient.clone()
        theirs.step()
        ours.step(x, gradient.clone(), velocity, 0.1)
    torch.testing.assert_close(x, parameter.detach(), rtol=1e-6, atol=1e-7)


def test_a_step_without_momentum_is_the_learning_rate_times_the_gradient() -> None:
    x = torch.tensor([1.0, 2.0])
    Sgd().step(x, torch.tensor([1.0, -1.0]), None, 0.5)
    assert x.tolist() == [0.5, 2.5]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_rows_step_each_at_its_own_rate(momentum: float) -> None:
    ours = Sgd(momentum=momentum, weight_decay=0.01)
    xs, velocities = torch.randn(2, 7), torch.randn(2, 7) if momentum else None
    alone = [
        (xs[i].clone(), None if velocities is None else velocities[i].clone()) for i in range(2)
    ]
    for gradient in torch.randn(4, 7):
        rates = torch.tensor([[0.1], [0.02]], dtype=torch.float64)
        ours.step(xs, gradient.repeat(2, 1), velocities, rates)
        for (x, velocity), rate in zip(alone, (0.1, 0.02), strict=True):
            ours.step(x, gradient.clone(), velocity, rate)
    for i, (x, _) in enumerate(alone):
        torch.testing.assert_close(xs[i], x)
