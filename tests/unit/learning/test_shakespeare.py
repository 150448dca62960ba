from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch

from p2pfl.errors import ConfigError, DataError
from p2pfl.learning.batched_trainer import BatchedTrainer
from p2pfl.learning.dataset import Dataset
from p2pfl.learning.loop_trainer import LoopTrainer
from p2pfl.learning.lstm import CharacterLstm, LstmLayer
from p2pfl.learning.models import Shape, model_maker
from p2pfl.learning.partitions import NaturalId
from p2pfl.learning.sources.folders import find_folder
from p2pfl.learning.sources.shakespeare import ALPHABET, FILES, load_shakespeare, speakers
from p2pfl.learning.task import Task, task_from_dataset
from p2pfl.learning.trainer import TrainJob
from p2pfl.types import NodeId

PLAY = """First Citizen:
Before we proceed any further, hear me speak:
so I say.

All:
Speak, speak.

First Citizen:
You are all resolved.
"""


def written(folder: Path, text: str) -> str:
    (folder / FILES[0]).write_text(text)
    return str(folder)


def long_play(speeches: int = 40) -> str:
    line = "the quick brown fox jumps over the lazy dog and\nthen it sleeps"
    return "\n\n".join(
        f"{name}:\n{line} {ALPHABET[i % 52 + 13]}"
        for i in range(speeches)
        for name in ("ROMEO", "JULIET", "Nurse")
    )


def text_of(numbers: Iterable[int]) -> str:
    return "".join(ALPHABET[i] for i in numbers)


def test_speakers_say_what_follows_their_names() -> None:
    said = speakers(PLAY)
    assert list(said) == ["First Citizen", "All"]
    assert said["First Citizen"] == (
        "Before we proceed any further, hear me speak:\nso I say.\nYou are all resolved.\n"
    )


def test_each_sample_is_80_characters_and_the_one_after(tmp_path: Path) -> None:
    text = long_play()
    data = load_shakespeare(folder=written(tmp_path, text))
    said = speakers(text)["JULIET"]
    assert data.ids is not None
    mine = data.ids == "JULIET"
    for k, (x, y) in enumerate(zip(data.train_x[mine], data.train_y[mine], strict=True)):
        assert text_of([*x, y]) == said[10 * k : 10 * k + 81]
    assert data.test_x is not None
    held = "".join(said[len(said) - len(said) // 5 :] for said in speakers(text).values())
    assert all(text_of(x) in held for x in data.test_x), "nothing tested on was trained on"


def test_who_says_little_is_left_out(tmp_path: Path) -> None:
    folder = written(tmp_path, long_play() + "\n\nPage:\nSir.\n")
    assert set(load_shakespeare(folder=folder).ids) == {"ROMEO", "JULIET", "Nurse"}  # type: ignore[arg-type] # there are ids
    with pytest.raises(DataError, match="no speaker has 9999 sequences"):
        load_shakespeare(folder=folder, min_sequences=9999)


def test_torn_or_missing_files_are_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"input\.txt not found in"):
        load_shakespeare(folder=str(tmp_path))
    with pytest.raises(DataError, match="holds the character '7'"):
        load_shakespeare(folder=written(tmp_path, long_play().replace("fox", "f7x")))


def test_a_layer_is_the_lstm_of_pytorch() -> None:
    ours, theirs = LstmLayer(5, 7), torch.nn.LSTM(5, 7, batch_first=True)
    weights = {
        "weight_ih_l0": ours.input,
        "weight_hh_l0": ours.recurrent,
        "bias_ih_l0": ours.bias,
        "bias_hh_l0": torch.zeros(28),
    }
    theirs.load_state_dict(weights)
    with torch.no_grad():
        x = torch.randn(3, 9, 5)
        torch.testing.assert_close(ours(x), theirs(x)[0])


def test_an_lstm_scores_the_next_character() -> None:
    module = model_maker("lstm", Shape((80,), 65), hidden=(16, 12))()
    assert isinstance(module, CharacterLstm)
    assert module(torch.zeros(4, 80, dtype=torch.int64)).shape == (4, 65)
    with pytest.raises(ConfigError, match=r"'lstm' takes sequences .* has shape \(1, 8, 8\)"):
        model_maker("lstm", Shape((1, 8, 8), 10))


def small_task(dataset: Dataset, nodes: list[NodeId]) -> Task:
    return task_from_dataset(
        dataset,
        nodes=nodes,
        seed=0,
        model="lstm",
        hidden=(8,),
        learning_rate=0.01,
        optimizer="adamw",
        eps=1e-4,
        batch_size=4,
        partition=NaturalId(),
        evaluation_samples=20,
    )


def test_sequences_batch_too(tmp_path: Path) -> None:
    nodes = [NodeId("a"), NodeId("b")]
    task = small_task(load_shakespeare(folder=written(tmp_path, long_play())), nodes)
    batched, loop = BatchedTrainer(task), LoopTrainer(task)
    assert batched.notes == ()
    jobs = [TrainJob(n, batched.initial(), 5, 2, None) for n in nodes]
    for one, other in zip(batched.train(jobs), loop.train(jobs), strict=True):
        moved = np.linalg.norm(other.vector - batched.initial())
        assert np.linalg.norm(one.vector - other.vector) <= 1e-5 * moved
    found, wanted = (t.evaluate([t.initial()], nodes[:1])[0] for t in (batched, loop))
    assert found.accuracy == wanted.accuracy


def test_the_plays_have_many_speakers_of_very_uneven_sizes() -> None:
    if find_folder("tinyshakespeare", folder="", files=FILES) is None:
        pytest.skip("no Shakespeare folder")
    data = load_shakespeare()
    assert data.ids is not None
    names, counts = np.unique(data.ids, return_counts=True)
    assert len(names) == 227
    assert counts.min() == 10
    assert counts.max() > 100 * counts.min()
    assert len(data) == 80_089
    assert data.classes == 65
    task = small_task(data, [NodeId(f"n{i}") for i in range(100)])
    assert sum(task.samples(NodeId(f"n{i}")) for i in range(100)) == len(data)
