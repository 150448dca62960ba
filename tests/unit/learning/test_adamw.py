import pytest
import torch
from torch import nn

from p2pfl.learning.adamw import AdamW


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_our_steps_are_those_of_pytorch(weight_decay: float) -> None:
    start, gradients = torch.randn(50), torch.randn(30, 50)
    parameter = nn.Parameter(start.clone())
    theirs = torch.optim.AdamW([parameter], lr=0.01, weight_decay=weight_decay)
    ours = AdamW(weight_decay=weight_decay)
    x, state = start.clone(), torch.zeros(ours.state_size(50))
    for gradient in gradients:
        parameter.grad = gradient.clone()
        theirs.step()
        ours.step(x, gradient.clone(), state, 0.01)
    torch.testing.assert_close(x, parameter.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rates", [(0.1, 0.1), (0.1, 0.02)], ids=["one rate", "two rates"])
def test_rows_step_each_by_its_own_count_and_rate(rates: tuple[float, float]) -> None:
    ours = AdamW(weight_decay=0.1)
    xs, states = torch.randn(2, 7), torch.zeros(2, ours.state_size(9))
    gradients = torch.randn(4, 7)
    ours.step(xs[1], gradients[0].clone(), states[1], 0.1)
    alone = [(x.clone(), state.clone()) for x, state in zip(xs, states, strict=True)]
    together = 0.1 if rates == (0.1, 0.1) else torch.tensor(rates, dtype=torch.float64)[:, None]
    for gradient in gradients[1:]:
        ours.step(xs, gradient.repeat(2, 1), states, together)
        for (x, state), rate in zip(alone, rates, strict=True):
            ours.step(x, gradient.clone(), state, rate)
    assert states[:, -1].tolist() == [3.0, 4.0]
    for i, (x, state) in enumerate(alone):
        torch.testing.assert_close(xs[i], x)
        torch.testing.assert_close(states[i], state)
