"""The accuracy of the mean of all nodes' models, at the end of a real run.

The starting process loads no torch: a process of the nursery's, which has, scores the model.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from p2pfl.results.measure import mean_model
from p2pfl.runtime.jobs import Job, model_score_file
from p2pfl.types import Vector


def write_mean(work: Path, models: Sequence[Vector]) -> Path:
    """The mean of these models, in a file to be scored."""
    file = work / "average.npy"
    np.save(file, mean_model(models), allow_pickle=False)
    return file


def score(job: Job) -> None:
    """Score the job's model with its node's evaluation data, and leave the accuracy beside it."""
    experiment = job.load_experiment()
    node = experiment.place(job.node).node
    trainer = experiment.make_trainer(only=(node,))
    vector = np.load(job.model, allow_pickle=False)
    accuracy = trainer.evaluate([vector], [node])[0].accuracy
    model_score_file(job).write_text(json.dumps({"accuracy": accuracy}), encoding="utf-8")


def read_accuracy(job: Job) -> float | None:
    """What `score` left; None: it came to nothing, or the model knows no accuracy."""
    file = model_score_file(job)
    if not file.exists():
        return None
    found = json.loads(file.read_text(encoding="utf-8"))["accuracy"]
    return None if found is None else float(found)
