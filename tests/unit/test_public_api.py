"""The public names are there, light to import, and no more than promised."""

import subprocess
import sys

import pytest

import p2pfl


def test_importing_p2pfl_loads_nothing_heavy() -> None:
    code = (
        "import sys, p2pfl; p2pfl.ConfigError; p2pfl.__version__;"
        "print([m for m in ('numpy', 'torch', 'networkx', 'matplotlib', 'rich', 'aiomqtt')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    for name in p2pfl.__all__:
        assert getattr(p2pfl, name) is not None
    assert set(p2pfl.__all__) == set(dir(p2pfl))
    assert len(set(p2pfl.__all__)) == len(p2pfl.__all__)


def test_the_parts_of_an_experiment_have_short_names() -> None:
    experiment = p2pfl.Experiment(
        p2pfl.ExperimentConfig(
            name="built",
            topology=p2pfl.Topology(kind="ring", nodes=3),
            data=p2pfl.Data(kind="quadratic"),
            model=p2pfl.Model(kind="quadratic"),
            training=p2pfl.Training(learning_rate=0.05, local_steps=1),
            stop=p2pfl.Stop(time_s=0.5),
        )
    )
    smooth = p2pfl.simulate(experiment, seed=0)
    rough = p2pfl.simulate(experiment.replace(network=p2pfl.Network(loss=0.5)), seed=0)
    table = p2pfl.compare(smooth, rough)
    assert [row.title for row in table.rows] == ["PullMix, loss 0", "PullMix, loss 0.5"]
    assert "PullMix, loss 0.5" in str(table)


def test_an_unknown_name_is_an_attribute_error() -> None:
    name = "magic"
    with pytest.raises(AttributeError, match="has no attribute 'magic'"):
        getattr(p2pfl, name)
