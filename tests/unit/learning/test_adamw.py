import pytest
import torch
from torch import nn

from p2pfl.learning.adamw import AdamW


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_our_steps_are_those_of_pytorch(weight_decay: float) -> None:
    start, gradients = torch.randn(50), torch.randn(30, 50)
    parameter = nn.Parameter(start.clone())
    theirs = torch.optim.AdamW([parameter], lr=0.01, weight_decay=weight_decay)
    ours = AdamW(learning_rate=0.01, weight_decay=weight_decay)
    x, state = start.clone(), torch.zeros(ours.state_size(50))
    for gradient in gradients:
        parameter.grad = gradient.clone()
        theirs.step()
        ours.step(x, gradient.clone(), state)
    torch.testing.assert_close(x, parameter.detach(), rtol=1e-5, atol=1e-6)


def test_rows_step_each_by_its_own_count() -> None:
    ours = AdamW(learning_rate=0.1, weight_decay=0.1)
    xs, states = torch.randn(2, 7), torch.zeros(2, ours.state_size(9))
    gradients = torch.randn(4, 7)
    ours.step(xs[1], gradients[0].clone(), states[1])
    alone = [(x.clone(), state.clone()) for x, state in zip(xs, states, strict=True)]
    for gradient in gradients[1:]:
        ours.step(xs, gradient.repeat(2, 1), states)
        for x, state in alone:
            ours.step(x, gradient.clone(), state)
    assert states[:, -1].tolist() == [3.0, 4.0]
    for i, (x, state) in enumerate(alone):
        torch.testing.assert_close(xs[i], x)
        torch.testing.assert_close(states[i], state)
