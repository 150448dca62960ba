"""Shakespeare's plays, character by character: real clients, each a speaker, of very uneven sizes.

The task is to predict the next of 65 characters from the 80 before it. Source of the task: McMahan
et al., Communication-efficient learning of deep networks from decentralized data, 2017; Caldas et
al., LEAF: a benchmark for federated settings, 2018. Source of the text: Karpathy, The unreasonable
effectiveness of recurrent neural networks, 2015 (public domain, 1,115,394 characters).
"""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from p2pfl.errors import DataError
from p2pfl.learning.dataset import HELD_OUT, Dataset
from p2pfl.learning.permutations import Indices, permutation
from p2pfl.learning.sources.folders import data_folders, find_folder

FILES: Final = ("input.txt",)
ALPHABET: Final = "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
LENGTH: Final = 80
"""Characters that are seen (McMahan et al., 2017)."""
STRIDE: Final = 10
"""A sequence begins at every tenth character: all of them would be ten times the memory, and
neighbours have all but one character in common."""


def load_shakespeare(*, folder: str = "", min_sequences: int = 10) -> Dataset:
    """Sequences of 80 characters `[m, 80]` as numbers, and the character that follows, `[m]`.

    The ids are the speakers. The last fifth of each one's words is the test set, pooled and
    shuffled. Who has fewer than `min_sequences` sequences to train on is left out.

    Raises:
        DataError: The file is missing, of another alphabet, or nobody speaks enough.
    """
    found = find_folder("tinyshakespeare", folder=folder, files=FILES)
    if found is None:
        places = folder or ", ".join(str(place) for place in data_folders("tinyshakespeare"))
        raise DataError(f"shakespeare: {FILES[0]} not found in {places}")
    path = found / FILES[0]
    train: list[Indices] = []
    test: list[Indices] = []
    names: list[str] = []
    for name, words in sorted(speakers(_read(path)).items()):
        numbers = _numbers(words, path)
        cut = len(numbers) - len(numbers) // HELD_OUT
        sequences = _sequences(numbers[:cut])
        if len(sequences) >= max(1, min_sequences):
            train.append(sequences)
            test.append(_sequences(numbers[cut:]))
            names.append(name)
    if not names:
        raise DataError(
            f"{path}: no speaker has {min_sequences} sequences of {LENGTH} characters; "
            "lower data.min_sequences"
        )
    rows, held = np.concatenate(train), np.concatenate(test)
    if not len(held):
        raise DataError(f"{path}: no speaker has a sequence to test on; give a longer text")
    held = held[permutation(0, "shakespeare", "held-out", 0, size=len(held))]
    return Dataset(
        name="shakespeare",
        train_x=rows[:, :LENGTH],
        train_y=rows[:, LENGTH],
        test_x=held[:, :LENGTH],
        test_y=held[:, LENGTH],
        classes=len(ALPHABET),
        ids=np.repeat(np.array(names), [len(part) for part in train]),
    )


def speakers(text: str) -> dict[str, str]:
    """What each speaker says in all plays, one speech after the other.

    A speech begins with a line of its own after an empty one, the speaker's name and a colon.
    """
    spoken: dict[str, list[str]] = {}
    name, after_empty = "", True
    for line in text.splitlines():
        if after_empty and line.endswith(":"):
            name = line[:-1]
        elif line and name:
            spoken.setdefault(name, []).append(line)
        after_empty = not line
    return {name: "\n".join(lines) + "\n" for name, lines in spoken.items()}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: unreadable ({error}); fetch it again") from error


def _numbers(words: str, path: Path) -> NDArray[np.int64]:
    strange = set(words) - set(ALPHABET)
    if strange:
        raise DataError(
            f"{path}: holds the character {min(strange)!r}, which is none of the {len(ALPHABET)}"
        )
    table = np.zeros(128, np.int64)
    table[[ord(character) for character in ALPHABET]] = np.arange(len(ALPHABET))
    return table[np.frombuffer(words.encode("ascii"), np.uint8)]


def _sequences(numbers: Indices) -> Indices:
    """Every tenth stretch of 80 characters and the one after them, `[k, 81]`."""
    if len(numbers) <= LENGTH:
        return np.empty((0, LENGTH + 1), np.int64)
    return sliding_window_view(numbers, LENGTH + 1)[::STRIDE]
