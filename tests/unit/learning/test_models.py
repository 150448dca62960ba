from pathlib import Path

import numpy as np
import pytest
import torch

from p2pfl.errors import ConfigError
from p2pfl.learning.flat import FlatModule
from p2pfl.learning.models import Shape, model_maker
from p2pfl.types import Vector

DIGITS = Shape((64,), 10)
OWN = """
from torch import nn

def plain(): return nn.Linear(3, 2)
def told(input_shape, classes): return nn.Linear(input_shape[0], classes)
def seeded(*, seed): return nn.Linear(seed, 1)
def wrong(): return "a model"
"""


def vector(kind: str, shape: Shape = DIGITS, *, seed: int = 0, base: str = "") -> Vector:
    return FlatModule(model_maker(kind, shape, seed=seed, base=base)()).array


def test_the_network_of_mcmahan_has_1663370_parameters() -> None:
    assert len(vector("cnn", Shape((1, 28, 28), 10))) == 1_663_370


def test_the_small_models_have_the_sizes_of_their_layers() -> None:
    assert len(vector("softmax")) == 650
    assert len(vector("mlp")) == 2410
    deep = model_maker("mlp", Shape((784,), 10), hidden=(200, 200))
    assert len(FlatModule(deep()).array) == 199_210, "the 2NN of McMahan et al., 2017"


def test_a_model_is_a_function_of_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = vector("mlp", seed=3)
    torch.manual_seed(2)
    assert np.array_equal(first, vector("mlp", seed=3))
    assert not np.array_equal(first, vector("mlp", seed=4))


def test_making_a_model_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    vector("mlp", seed=3)
    assert torch.equal(torch.rand(3), wanted)


def test_the_convolutional_network_takes_other_images_too() -> None:
    maker = model_maker("cnn", Shape((3, 9, 13), 4))
    assert maker()(torch.rand(2, 3, 9, 13)).shape == (2, 4)


def test_the_convolutional_network_refuses_rows() -> None:
    with pytest.raises(ConfigError, match=r"'cnn' takes images .* has shape \(64,\)"):
        model_maker("cnn", DIGITS)


def test_an_unknown_kind_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(ConfigError, match="'mpl' is unknown; allowed are softmax, mlp, cnn"):
        model_maker("mpl", DIGITS)


def test_the_users_function_gets_the_keywords_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_models.py").write_text(OWN)
    base = str(tmp_path)
    assert len(vector("own_models:plain", base=base)) == 8
    assert len(vector("own_models:told", base=base)) == 650
    assert len(vector("own_models:seeded", base=base, seed=7)) == 8
    with pytest.raises(ConfigError, match=r"own_models:wrong: returned str, expected a torch"):
        vector("own_models:wrong", base=base)
