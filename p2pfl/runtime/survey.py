"""What a host must have before nodes start there: `python -m p2pfl.runtime.survey FOLDER`.

Reads a question from standard input, writes an answer to standard output.
"""

import asyncio
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Final

from p2pfl.config.load import load_config
from p2pfl.errors import ConfigError, DataError, P2pflError
from p2pfl.experiment import Experiment
from p2pfl.runtime.home import brought_by
from p2pfl.runtime.host_words import CA_FILE, EXPERIMENT, Answer, Question, from_text, to_text

_BROKER_S: Final = 20.0


def survey(folder: Path, question: Question) -> Answer:
    """Look at version, experiment, broker and data; whatever is wrong is told, not raised."""
    version = metadata.version("p2pfl-gossip")
    try:
        experiment = Experiment(load_config(folder / EXPERIMENT), folder=folder)
        digest = experiment.digest
    except ConfigError as problem:
        return Answer(version=version, experiment=str(problem))
    return Answer(
        version=version,
        digest=digest,
        broker=_told(lambda: asyncio.run(_reach(folder, question))),
        data=_told(lambda: _read_data(experiment, question)),
    )


async def _reach(folder: Path, question: Question) -> None:
    from p2pfl.transport.mqtt import Observer

    ca_file = folder / CA_FILE
    async with asyncio.timeout(_BROKER_S):
        async with Observer(
            question.url,
            password=question.password,
            ca_file=str(ca_file) if ca_file.exists() else None,
        ):
            pass


def _read_data(experiment: Experiment, question: Question) -> None:
    """Load the data as nodes here will, without the model. Raises ConfigError, DataError."""
    from p2pfl.learning.datasets import load_dataset

    for node in question.nodes:
        here = brought_by(experiment, node, where=question.data, among=question.nodes)
        data = here.config.data
        if data.kind == "quadratic":
            return
        dataset = load_dataset(
            data.kind,
            folder=data.folder,
            base=str(here.folder),
            seed=here.config.seed,
            min_sequences=data.min_sequences,
        )
        if not len(dataset.train_x):
            raise DataError(f"{data.kind}: holds no samples")
        return


def _told(act: "object") -> str:
    assert callable(act)
    try:
        act()
    except TimeoutError:
        return f"no answer within {_BROKER_S:.0f} s"
    except P2pflError as problem:
        return " ".join(str(problem).split())
    except Exception as fault:  # noqa: BLE001 - the user's own function may raise anything.
        return f"{type(fault).__name__}: {' '.join(str(fault).split())}"
    return ""


def main() -> int:
    """Answer on standard output; what libraries print goes to standard error."""
    answers = os.dup(1)
    os.dup2(2, 1)
    question = from_text(Question, sys.stdin.readline())
    answer = survey(Path(sys.argv[1]).resolve(), question)
    os.write(answers, to_text(answer).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
