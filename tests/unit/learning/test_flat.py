import numpy as np
import pytest
import torch
from torch import nn

from p2pfl.errors import ConfigError
from p2pfl.learning.flat import FlatModule, split


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.out = nn.Linear(3, 5, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.out(self.embed(x))
        return y


def test_the_vector_and_the_module_are_the_same_memory() -> None:
    flat = FlatModule(nn.Linear(2, 3))
    flat.array[:] = np.arange(9)
    weight, bias = flat.module.parameters()
    assert weight.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert bias.tolist() == [6, 7, 8]


def test_making_a_module_flat_keeps_its_numbers() -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    x = torch.rand(5, 4)
    before = module(x)
    buffer = {name: value.clone() for name, value in module.named_buffers()}
    flat = FlatModule(module)
    for name, value in module.named_buffers():
        assert torch.equal(value, buffer[name])
    assert torch.equal(flat.module(x), before)


def test_all_gradients_land_in_one_buffer() -> None:
    flat = FlatModule(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)))
    loss = flat.module(torch.rand(5, 4)).square().sum()
    wanted = torch.autograd.grad(loss, list(flat.module.parameters()), retain_graph=True)
    loss.backward()
    assert torch.equal(flat.gradient, torch.cat([g.reshape(-1) for g in wanted]))


def test_loading_changes_what_the_module_says() -> None:
    flat = FlatModule(nn.Linear(2, 1, bias=False))
    vector = np.array([2.0, -1.0], np.float32)
    vector.flags.writeable = False
    flat.load(vector)
    assert flat.module(torch.tensor([[1.0, 1.0]])).item() == 1.0


def test_float_buffers_travel_behind_the_parameters_and_integer_buffers_stay() -> None:
    flat = FlatModule(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))
    assert flat.trainable == 2 * 3 + 3 + 3 + 3
    assert flat.dimension == flat.trainable + 6
    assert [name for name, _ in flat.layout][-2:] == ["1.running_mean", "1.running_var"]
    flat.module.train()
    flat.module(torch.rand(4, 2))
    assert flat.array[-6:-3].any(), "the running mean moved inside the vector"


def test_integer_buffers_start_anew_at_each_load() -> None:
    flat = FlatModule(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))
    flat.module.train()
    flat.module(torch.rand(4, 2))
    counter = dict(flat.module.named_buffers())["1.num_batches_tracked"]
    assert counter.item() == 1
    flat.load(flat.array.copy())
    assert counter.item() == 0


def test_frozen_parameters_are_carried_but_not_trained() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    module[0].weight.requires_grad_(False)
    flat = FlatModule(module)
    assert flat.dimension - flat.trainable == 6
    assert flat.layout[-1] == ("0.weight", (3, 2))


def test_frozen_parameters_are_loaded_like_all_else() -> None:
    module = nn.Sequential(nn.Linear(3, 2).requires_grad_(requires_grad=False), nn.Linear(2, 2))
    flat = FlatModule(module)
    flat.load(np.arange(flat.dimension, dtype=np.float32))
    bound = {name: parameter.detach() for name, parameter in module.named_parameters()}
    for name, part in split(flat.array, flat.layout).items():
        assert np.array_equal(bound[name].numpy(), part)


def test_tied_parameters_are_one() -> None:
    flat = FlatModule(Tied())
    assert flat.dimension == 15
    flat.load(np.ones(15, np.float32))
    assert flat.module(torch.tensor([0])).tolist() == [[3.0] * 5]


def test_the_schema_tells_names_and_shapes_apart() -> None:
    schemas = {
        FlatModule(nn.Linear(2, 3)).schema,
        FlatModule(nn.Linear(3, 2)).schema,
        FlatModule(nn.Sequential(nn.Linear(2, 3))).schema,
    }
    assert len(schemas) == 3
    assert FlatModule(nn.Linear(2, 3)).schema in schemas
    assert all(len(schema) == 16 for schema in schemas)


def test_a_model_without_parameters_is_refused() -> None:
    with pytest.raises(ConfigError, match="model ReLU has no trainable parameters"):
        FlatModule(nn.ReLU())


def test_a_model_that_is_not_float32_is_refused_by_the_parameters_name() -> None:
    with pytest.raises(ConfigError, match=r"weight is torch.float64; only torch.float32"):
        FlatModule(nn.Linear(2, 2).double())


def test_modules_that_may_draw_are_told_from_those_that_do_not() -> None:
    assert not FlatModule(nn.Sequential(nn.Linear(2, 2), nn.ReLU())).draws
    assert FlatModule(nn.Sequential(nn.Linear(2, 2), nn.Dropout())).draws
    assert FlatModule(Tied()).draws, "a class that we do not know may do anything"


def test_a_vector_is_split_by_name() -> None:
    flat = FlatModule(nn.Linear(2, 3))
    parts = split(flat.array, flat.layout)
    assert list(parts) == ["weight", "bias"]
    assert parts["weight"].shape == (3, 2)
    assert np.shares_memory(parts["bias"], flat.array)
