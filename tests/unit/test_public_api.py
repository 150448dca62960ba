"""The public names are there, light to import, and no more than promised."""

import subprocess
import sys
from dataclasses import is_dataclass
from itertools import count
from pathlib import Path
from typing import get_type_hints

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


def test_every_section_of_an_experiment_has_a_short_name() -> None:
    sections = get_type_hints(p2pfl.ExperimentConfig).values()
    names = [part.__name__ for part in sections if is_dataclass(part) and isinstance(part, type)]
    assert len(names) > 10
    for name in names:
        short = name if name in {"AlgorithmConfig", "ComparisonConfig"} else name[: -len("Config")]
        assert short in p2pfl.__all__


def test_the_parts_of_the_world_have_short_names() -> None:
    world = p2pfl.Network(
        links=(p2pfl.Link(between=("n0", "n1"), loss=0.5),),
        partitions=(p2pfl.NetworkPartition(from_s=0.1, until_s=0.2, groups=(("n0",),)),),
    )
    faults = p2pfl.Faults(
        crash=(p2pfl.Crash(node="n0", at_s=0.1, restart_s=0.2),),
        leave=(p2pfl.Leave(node="n1", at_s=0.3),),
        join=(p2pfl.Join(node="n2", at_s=0.1),),
        churn=p2pfl.Churn(life_s=9.0, absence_s=0.1),
    )
    experiment = p2pfl.Experiment(
        p2pfl.ExperimentConfig(
            name="rough",
            topology=p2pfl.Topology(kind="ring", nodes=4),
            data=p2pfl.Data(kind="quadratic"),
            model=p2pfl.Model(kind="quadratic"),
            training=p2pfl.Training(learning_rate=0.05, local_steps=1),
            compute=p2pfl.Compute(availability=p2pfl.Availability(on_s=0.2, off_s=0.1)),
            simulation=p2pfl.Simulation(trainer="loop"),
            stop=p2pfl.Stop(time_s=0.5),
            network=world,
            faults=faults,
        )
    )
    profile = p2pfl.Profile(count().__next__)
    result = p2pfl.simulate(experiment, profile=profile)
    assert ("n1", "left") in {(node.node, node.outcome) for node in result.nodes}
    assert profile.seconds["training"] > 0


def test_a_sweep_and_a_data_set_need_no_deeper_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "import p2pfl\nx = [[0.0], [1.0]] * 8\ndef load():\n"
    text += "    return p2pfl.dataset_from_arrays('own', np.float32(x), np.arange(16) % 2)\n"
    (tmp_path / "own_data.py").write_text(f"import numpy as np\n{text}")
    experiment = p2pfl.Experiment(
        p2pfl.ExperimentConfig(
            name="own",
            topology=p2pfl.Topology(kind="path", nodes=2),
            data=p2pfl.Data(kind="own_data:load"),
            model=p2pfl.Model(kind="softmax"),
            training=p2pfl.Training(learning_rate=0.1, local_steps=1, batch_size=2),
            stop=p2pfl.Stop(steps=3),
        ),
        folder=tmp_path,
    )
    table = p2pfl.sweep(experiment, {"network.loss": [0.0]}, jobs=1)
    assert isinstance(table, p2pfl.Sweep)
    assert [result.steps for result in table.results.values()] == [6]


def test_an_unknown_name_is_an_attribute_error() -> None:
    name = "magic"
    with pytest.raises(AttributeError, match="has no attribute 'magic'"):
        getattr(p2pfl, name)
