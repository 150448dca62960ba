"""The accuracy of the mean of all models is had from a process of its own, or it is not had."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from p2pfl.config.schema import ExperimentConfig
from p2pfl.config.write import config_to_mapping
from p2pfl.experiment import load_experiment
from p2pfl.runtime.average import write_mean
from p2pfl.runtime.jobs import Job
from p2pfl.runtime.processes import Processes

TEXT = """
name = "small"
data = "digits"
topology = { kind = "ring", nodes = 3 }
model = { kind = "mlp", hidden = [8] }
training = { learning_rate = 0.1, local_steps = 1 }
stop = { steps = 5 }
"""


@pytest.fixture
def config(tmp_path: Path) -> ExperimentConfig:
    file = tmp_path / "small.toml"
    file.write_text(TEXT)
    return load_experiment(file).config


def job_of(config: ExperimentConfig, folder: Path, model: str) -> Job:
    return Job(
        node="n1",
        life=0,
        run="small",
        url="",
        experiment=config_to_mapping(config),
        folder=str(folder),
        work=str(folder),
        model=model,
    )


async def test_a_model_is_scored_as_by_the_simulators_trainer(
    config: ExperimentConfig, tmp_path: Path
) -> None:
    experiment = load_experiment(tmp_path / "small.toml")
    trainer = experiment.make_trainer(only=experiment.learners[:1])
    start = trainer.initial()
    file = write_mean(tmp_path, [start - 1.0, start + 1.0])
    expected = trainer.evaluate([np.load(file)], list(experiment.learners[:1]))[0].accuracy
    async with Processes() as processes:
        found = await processes.score(job_of(config, tmp_path, str(file)))
        assert processes.all_have_ended
    assert found == expected is not None


async def test_a_model_that_cannot_be_scored_has_no_accuracy(
    config: ExperimentConfig, tmp_path: Path
) -> None:
    file = tmp_path / "short.npy"
    np.save(file, np.zeros(3, np.float32))
    async with Processes() as processes:
        assert await processes.score(job_of(config, tmp_path, str(file))) is None
        broken = replace(config, data=replace(config.data, kind="nowhere:load"))
        assert await processes.score(job_of(broken, tmp_path, str(file))) is None
        assert processes.all_have_ended
