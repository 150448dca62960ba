"""A Hugging Face model as its `Trainer` uses it: `model(**batch, labels=y)` has `.loss`, `.logits`.

Samples are the model's main input (token ids `[m, L]`, pixels `[m, C, H, W]`). The attention mask
follows from the padding token; other inputs need a `training_loss` of the user's. `transformers`
is never imported here: the user's function does, from files on this machine.
"""

import inspect
from typing import Any

from torch import Tensor, nn

from p2pfl.adapters.own_loss import one_number
from p2pfl.errors import ConfigError
from p2pfl.learning.objective import Scored


def is_hugging_face(module: nn.Module) -> bool:
    """Whether it has what every pretrained model of `transformers` has."""
    return isinstance(getattr(module, "main_input_name", None), str) and hasattr(module, "config")


def hugging_face_objective(module: nn.Module) -> "HuggingFaceLoss":
    """Its own loss of its labels.

    Raises:
        ConfigError: it takes no labels: it is a backbone without a head.
    """
    takes = inspect.signature(module.forward).parameters
    if "labels" not in takes:
        raise ConfigError(
            f"{type(module).__name__} takes no labels, so it has no loss: take a class with a head,"
            " such as ...ForSequenceClassification"
        )
    padding = getattr(module.config, "pad_token_id", None)
    return HuggingFaceLoss(
        str(module.main_input_name),
        padding=padding if "attention_mask" in takes else None,
    )


class HuggingFaceLoss:
    """The loss that the model computes of its labels. See `Objective`."""

    def __init__(self, main_input: str, *, padding: int | None) -> None:
        """`padding`: the token that is not looked at; None: all are."""
        self._main_input = main_input
        self._padding = padding

    def loss(self, module: nn.Module, x: Tensor, y: Tensor, step: int) -> Tensor:
        """The model's own loss."""
        answer: Any = module(**self._batch(x), labels=y)
        return one_number(answer.loss, module, "forward(...).loss")

    def score(self, module: nn.Module, x: Tensor, y: Tensor) -> Scored:
        """The model's logits and its own loss."""
        answer: Any = module(**self._batch(x), labels=y)
        return Scored(answer.logits, one_number(answer.loss, module, "forward(...).loss"))

    def _batch(self, x: Tensor) -> dict[str, Tensor]:
        batch = {self._main_input: x}
        if self._padding is not None and not x.is_floating_point():
            batch["attention_mask"] = (x != self._padding).long()
        return batch
