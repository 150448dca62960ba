"""What a party says of its own data."""

from pathlib import Path

import numpy as np
import pytest

from p2pfl.config.load import config_from_mapping
from p2pfl.config.schema import DataConfig
from p2pfl.errors import ConfigError
from p2pfl.experiment import Experiment
from p2pfl.own_data import OwnData, own_data
from p2pfl.types import NodeId

DIGITS = DataConfig(kind="digits", samples=600)
N1 = NodeId("n1")


def test_who_says_nothing_has_the_experiments_data() -> None:
    assert own_data(DIGITS, None, None) is None


def test_a_file_is_ones_own_and_whole_unless_a_part_is_named(tmp_path: Path) -> None:
    file = str(tmp_path / "my.npz")
    whole = own_data(DIGITS, file, None)
    half = own_data(DIGITS, file, "2/2")
    assert whole is not None
    assert half is not None
    assert (whole.data.kind, whole.data.folder, whole.parts) == ("npz", file, 1)
    assert whole.shares(N1) == ("n1",)
    assert half.shares(N1) == ("part-1", "n1")


def test_a_folder_says_only_where_the_known_data_lies(tmp_path: Path) -> None:
    found = own_data(DataConfig(kind="mnist"), str(tmp_path), None)
    assert found is not None
    assert (found.data.kind, found.data.folder) == ("mnist", str(tmp_path))
    assert found.shares(N1) is None
    with pytest.raises(ConfigError, match="digits of this experiment lie in no folder"):
        own_data(DIGITS, str(tmp_path), None)


def test_another_data_set_is_ones_own() -> None:
    found = own_data(DIGITS, "mnist", None)
    assert found is not None
    assert (found.data.kind, found.parts) == ("mnist", 1)


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "a/b", "1/0"])
def test_what_is_no_part_is_refused(part: str) -> None:
    with pytest.raises(ConfigError, match="expected K/N"):
        own_data(DIGITS, None, part)


def test_quadratics_cannot_be_brought() -> None:
    with pytest.raises(ConfigError, match="hold no data"):
        own_data(DataConfig(kind="quadratic"), None, "1/2")


def experiment(**training: object) -> Experiment:
    table = {
        "name": "home",
        "topology": {"kind": "ring", "nodes": 3},
        "data": {"kind": "digits", "samples": 600},
        "model": "softmax",
        "training": {"learning_rate": 0.1, "local_steps": 1, **training},
        "stop": {"steps": 1},
    }
    return Experiment(config_from_mapping(table, source="test"))


def test_the_parts_of_all_parties_are_the_whole_and_the_digest_stays() -> None:
    shared = experiment()
    sizes = []
    for k in (1, 2, 3):
        own = own_data(shared.config.data, None, f"{k}/3")
        assert own is not None
        home = shared.at_home(N1, own)
        assert home.digest == shared.digest
        sizes.append(home.make_trainer(only=(N1,)).samples(N1))
    assert sum(sizes) == 600
    assert max(sizes) - min(sizes) <= 1


def test_own_arrays_are_trained_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    file = tmp_path / "my.npz"
    np.savez(
        file, x=rng.random((50, 64), np.float32), y=rng.integers(0, 10, 50), classes=np.array(10)
    )
    own = own_data(experiment().config.data, str(file), None)
    assert own is not None
    trainer = experiment().at_home(N1, own).make_trainer(only=(N1,))
    assert 0 < trainer.samples(N1) <= 50
    assert trainer.schema == experiment().make_trainer(only=(N1,)).schema


def test_weights_by_samples_need_everybodys_number() -> None:
    with pytest.raises(ConfigError, match=r"training\.weighting"):
        experiment(weighting="samples").at_home(N1, OwnData(data=DIGITS))
