import pytest
import torch

from p2pfl.learning.batched_trainer import best_device


@pytest.mark.parametrize("found", ["cuda", "cpu"])
def test_auto_is_cuda_where_it_is_and_else_the_cpu(
    monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: found == "cuda")
    assert best_device("auto") == found
    assert best_device("cuda:1") == "cuda:1"
