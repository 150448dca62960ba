"""Modules that come to their loss in their own way: what is used of them, and what is refused."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from p2pfl.adapters.recognise import objective_of
from p2pfl.errors import ConfigError
from p2pfl.learning.dataset import dataset_from_arrays
from p2pfl.learning.loop_trainer import LoopTrainer
from p2pfl.learning.models import seeded
from p2pfl.learning.partitions import Iid
from p2pfl.learning.task import Task, task_from_dataset
from p2pfl.learning.trainer import TrainJob, TrainOutcome
from p2pfl.types import Array, NodeId

with warnings.catch_warnings():
    # Libraries' own, at import.
    warnings.simplefilter("ignore")
    import pytorch_lightning
    from transformers import BertConfig, BertForSequenceClassification, BertModel

NODE = NodeId("n0")


class Plain(nn.Linear):
    def __init__(self) -> None:
        super().__init__(6, 3)


class Doubled(Plain):
    """Its own loss is twice the usual one."""

    def training_loss(self, x: Tensor, y: Tensor) -> Tensor:
        return 2.0 * functional.cross_entropy(self(x), y)


class Lit(pytorch_lightning.LightningModule):  # type: ignore[misc] # its types are not read
    """The same model as `Plain`; `optimizers` is what it configures."""

    optimizers_made: Callable[[Any], object] = staticmethod(
        lambda parameters: torch.optim.SGD(parameters, lr=0.1)
    )

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.layer(x)
        return outputs

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        x, y = batch
        loss = functional.cross_entropy(self(x), y)
        self.log("loss", loss)
        self.log_dict({"loss": loss})
        return {"loss": loss}

    def configure_optimizers(self) -> object:
        return type(self).optimizers_made(self.parameters())


def task_of(make: Callable[[], nn.Module], **changes: Any) -> Task:  # noqa: ANN401 - many kinds
    draw = np.random.default_rng(0)
    x: Array = draw.random((60, 6))
    y = draw.integers(0, 3, 60)
    if changes.pop("tokens", False):
        x = draw.integers(0, 9, (60, 6))
    data = dataset_from_arrays("own", x, y, test_x=x[:20], test_y=y[:20])
    arguments = {
        "nodes": [NODE],
        "seed": 0,
        "model": "softmax",
        "learning_rate": 0.1,
        "batch_size": 8,
        "partition": Iid(),
        **changes,
    }
    task = task_from_dataset(data, **arguments)
    return with_objective(task, make)


def with_objective(task: Task, make: Callable[[], nn.Module]) -> Task:
    """As a module of the user's is made: from the seed alone."""
    task = replace(task, make_model=lambda: seeded(make, task.seed))
    return replace(task, objective=objective_of(task))


def trained(task: Task, *, steps: int = 3) -> TrainOutcome:
    trainer = LoopTrainer(task)
    return trainer.train([TrainJob(NODE, trainer.initial(), 0, steps, None)])[0]


def test_a_plain_module_is_judged_by_its_outputs() -> None:
    assert task_of(Plain).objective is None


def test_a_training_loss_of_its_own_is_what_is_minimised() -> None:
    usual, doubled = trained(task_of(Plain, learning_rate=0.2)), trained(task_of(Doubled))
    assert np.allclose(usual.vector, doubled.vector, atol=1e-6)
    assert doubled.loss == pytest.approx(2.0 * usual.loss, rel=1e-5)


def test_a_loss_that_is_no_number_is_refused() -> None:
    class Wrong(Plain):
        def training_loss(self, x: Tensor, y: Tensor) -> Tensor:
            return functional.cross_entropy(self(x), y, reduction="none")

    with pytest.raises(ConfigError, match=r"Wrong.training_loss returned \(2,\); expected the mea"):
        LoopTrainer(task_of(Wrong))


def test_a_lightning_module_learns_what_the_plain_one_does() -> None:
    same = trained(task_of(Lit)), trained(task_of(Plain))
    assert np.array_equal(same[0].vector, same[1].vector)
    score = LoopTrainer(task_of(Lit)).evaluate([same[0].vector], [NODE])[0]
    assert score.accuracy is not None


@pytest.mark.parametrize(
    ("made", "changes"),
    [
        (lambda p: torch.optim.SGD(p, 0.1, momentum=0.9), {"momentum": 0.9}),
        (lambda p: torch.optim.Adam(p, 0.01), {"optimizer": "adamw", "learning_rate": 0.01}),
        (
            lambda p: [torch.optim.AdamW(p, 0.01, weight_decay=0.1)],
            {"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.1},
        ),
        (lambda p: {"optimizer": torch.optim.SGD(p, 0.1)}, {}),
        (lambda _: None, {"learning_rate": 0.3}),
    ],
)
def test_an_optimizer_that_the_experiment_has_too_is_taken(
    monkeypatch: pytest.MonkeyPatch, made: Callable[[Any], object], changes: dict[str, Any]
) -> None:
    monkeypatch.setattr(Lit, "optimizers_made", staticmethod(made))
    assert task_of(Lit, **changes).objective is not None


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda p: torch.optim.SGD(p, 0.2), r"write learning_rate = 0\.2 under \[training\]"),
        (lambda p: torch.optim.Adam(p, 0.1), 'write optimizer = "adamw" under'),
        (
            lambda p: torch.optim.AdamW(p, 0.1, betas=(0.8, 0.9), weight_decay=0.0),
            r'write optimizer = "adamw", betas = \[0\.8, 0\.9\] under',
        ),
        (lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True), "makes SGD with .* know"),
        (lambda p: torch.optim.RMSprop(p, 0.1), "makes RMSprop"),
        (lambda p: 2 * [torch.optim.SGD(p, 0.1)], "returns 2 optimizers"),
        (
            lambda p: torch.optim.SGD([{"params": [each]} for each in p], 0.1),
            "makes 2 groups of parameters",
        ),
        (
            lambda p: {"optimizer": torch.optim.SGD(p, 0.1), "lr_scheduler": object()},
            "returns a learning-rate scheduler",
        ),
        (lambda p: ([torch.optim.SGD(p, 0.1)], [object()]), "returns a learning-rate scheduler"),
    ],
)
def test_an_optimizer_that_would_be_ignored_is_refused(
    monkeypatch: pytest.MonkeyPatch, made: Callable[[Any], object], words: str
) -> None:
    def listed(parameters: Any) -> object:  # noqa: ANN401 - torch takes them used once
        return made(list(parameters))

    monkeypatch.setattr(Lit, "optimizers_made", staticmethod(listed))
    with pytest.raises(ConfigError, match=words):
        task_of(Lit)


def test_a_module_that_steps_in_its_own_way_is_refused() -> None:
    class Manual(Lit):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False

    class Hooked(Lit):
        def optimizer_step(self, *args: object, **named: object) -> None:
            """Something of its own."""

    with pytest.raises(ConfigError, match="automatic_optimization is False"):
        task_of(Manual)
    with pytest.raises(ConfigError, match=r"Hooked\.optimizer_step would be ignored"):
        task_of(Hooked)


def bert(**changes: object) -> nn.Module:
    config = BertConfig(
        vocab_size=9,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=6,
        num_labels=3,
        **changes,
    )
    model: nn.Module = BertForSequenceClassification(config)
    return model


def test_a_hugging_face_model_learns_by_its_own_loss() -> None:
    task = task_of(bert, tokens=True)
    first, again, more = trained(task), trained(task), trained(task, steps=60)
    assert np.array_equal(first.vector, again.vector)
    assert more.loss < first.loss
    assert LoopTrainer(task).evaluate([more.vector], [NODE])[0].accuracy is not None


def test_what_is_padding_is_not_looked_at() -> None:
    model = seeded(lambda: bert(pad_token_id=0), 0).eval()
    objective = with_objective(task_of(Plain), lambda: bert(pad_token_id=0)).objective
    assert objective is not None
    short, padded = torch.tensor([[5, 6, 7]]), torch.tensor([[5, 6, 7, 0, 0]])
    y = torch.tensor([1])
    with torch.inference_mode():
        losses = [objective.loss(model, x, y, 0).item() for x in (short, padded)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_a_backbone_without_a_head_is_refused() -> None:
    with pytest.raises(ConfigError, match="BertModel takes no labels"):
        task_of(lambda: BertModel(bert().config), tokens=True)
