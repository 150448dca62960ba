"""What becomes of a gradient before the optimizer sees it: against PyTorch, and row by row."""

import pytest
import torch
from torch import Tensor, nn

from p2pfl.learning.clipping import clip_scale
from p2pfl.learning.gradients import GradientTerms


@pytest.mark.parametrize("norm_max", [0.1, 5.0, 1000.0])
def test_clipping_is_that_of_pytorch_row_by_row(norm_max: float) -> None:
    gradients = torch.randn(4, 50)
    ours = gradients.clone()
    GradientTerms(clip_norm=norm_max).apply(ours, torch.zeros(4, 50))
    for row, gradient in zip(ours, gradients, strict=True):
        parameters = [nn.Parameter(torch.zeros(30)), nn.Parameter(torch.zeros(20))]
        for parameter, part in zip(parameters, gradient.split([30, 20]), strict=True):
            parameter.grad = part.clone()
        torch.nn.utils.clip_grad_norm_(parameters, norm_max)
        wanted = torch.cat([p.grad for p in parameters if p.grad is not None])
        torch.testing.assert_close(row, wanted)
        scale = clip_scale(float(gradient.norm()), norm_max)
        torch.testing.assert_close(row, gradient * scale)


def test_a_correction_and_the_proximal_term_are_not_clipped() -> None:
    x, start, correction = (torch.randn(20) for _ in range(3))
    gradient = 100.0 * torch.ones(20)
    terms = GradientTerms(
        clip_norm=1e-3, correction=correction, proximal=torch.tensor([0.5]), anchor=start
    )
    terms.apply(gradient, x)
    torch.testing.assert_close(gradient, correction + 0.5 * (x - start), atol=1e-3, rtol=0.0)


def test_each_row_has_its_own_terms() -> None:
    gradients, xs, starts, corrections = (torch.randn(3, 20) for _ in range(4))
    mus = torch.tensor([[0.0], [0.5], [2.0]])
    together = GradientTerms(
        clip_norm=1.0, correction=corrections, proximal=mus, anchor=starts
    ).first(2)
    found: Tensor = gradients[:2].clone()
    together.apply(found, xs[:2])
    for i in range(2):
        alone = GradientTerms(
            clip_norm=1.0, correction=corrections[i], proximal=mus[i], anchor=starts[i]
        )
        wanted = gradients[i].clone()
        alone.apply(wanted, xs[i])
        torch.testing.assert_close(found[i], wanted)


def test_nothing_asked_for_is_nothing_done() -> None:
    gradient = torch.randn(5)
    wanted = gradient.clone()
    GradientTerms().first(1).apply(gradient, torch.zeros(5))
    assert torch.equal(gradient, wanted)
