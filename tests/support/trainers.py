"""What is inside a trainer, for tests of it."""

from p2pfl.learning.batched_trainer import BatchedTrainer
from p2pfl.learning.stacked_model import StackedGradient


def gradient_of(trainer: BatchedTrainer) -> StackedGradient:
    """How it computes the gradients of many models; it must batch its task's models."""
    assert trainer._training is not None, trainer.notes
    return trainer._training.gradient
