"""What the starting process tells a node's process, and what that leaves in the work folder."""

import json
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from p2pfl.config.load import config_from_mapping
from p2pfl.errors import (
    ConfigError,
    CrashError,
    DataError,
    P2pflError,
    PlaceTakenError,
    RefusedError,
    TransportError,
)
from p2pfl.experiment import Experiment
from p2pfl.results.lines import from_object, to_object
from p2pfl.results.record import NodeTotals
from p2pfl.runtime.home import brought_by
from p2pfl.types import NodeId, Vector

_FAULTS: Final[Mapping[str, type[P2pflError]]] = {
    kind.__name__: kind
    for kind in (ConfigError, DataError, TransportError, RefusedError, PlaceTakenError)
}

_LOG_LINES: Final = 20
"""Of the log of a process that ended without a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One node's process: which node, of which experiment, in which run, at which broker."""

    node: str
    life: int
    """1, and one more each time the node is started again."""
    run: str
    url: str
    experiment: Mapping[str, Any]
    """The configuration as a mapping; its paths are absolute, or meant from `folder`."""
    folder: str
    work: str
    """Where the process leaves its final models, its totals and its log."""
    password: str | None = None
    ca_file: str = ""
    record: str = ""
    """The folder for the record of this life; empty: none is made."""
    checkpoints: str = ""
    """The folder for the node's checkpoints; empty: none are made."""
    since_s: float | None = None
    """When the run began, on this machine's monotonic clock; None: it has not yet."""
    data: str = ""
    """Where this machine's data lies; empty: as the experiment says."""
    among: Sequence[str] = ()
    """All nodes of this machine, to which data of its own is dealt."""
    model: str = ""
    """A model's file, to be scored with the node's data instead of living the node's life."""
    stays: bool = False
    """`work` is still wanted when all processes have ended: somebody else removes it."""

    @property
    def key(self) -> str:
        """The name of this life's files."""
        return f"{self.node}-{self.life}"

    def load_experiment(self) -> Experiment:
        """Put the experiment together. Raises ConfigError."""
        config = config_from_mapping(self.experiment, source=self.run)
        experiment = Experiment(config, folder=Path(self.folder))
        return brought_by(experiment, self.node, where=self.data, among=self.among)

    def encode(self) -> str:
        """As one line of JSON."""
        return json.dumps(asdict(self))


def read_job(line: str) -> Job:
    """The job in a line that `encode` made."""
    return Job(**json.loads(line))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Legacy:
    """What one life of a node left behind when it ended in order."""

    totals: NodeTotals
    served: Vector
    public: Vector
    loss: float
    accuracy: float | None
    per_class: tuple[float, ...]
    duration_s: float
    slept_s: float
    missed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plain:
    loss: float
    accuracy: float | None
    per_class: tuple[float, ...]
    duration_s: float
    slept_s: float
    missed_s: float


def write_legacy(work: Path, key: str, legacy: Legacy) -> None:
    """Leave it in the work folder; the totals come last, so that they say that all is there."""
    np.save(work / f"{key}.served.npy", legacy.served, allow_pickle=False)
    np.save(work / f"{key}.public.npy", legacy.public, allow_pickle=False)
    plain = _Plain(
        loss=legacy.loss,
        accuracy=legacy.accuracy,
        per_class=legacy.per_class,
        duration_s=legacy.duration_s,
        slept_s=legacy.slept_s,
        missed_s=legacy.missed_s,
    )
    content = {"totals": to_object(legacy.totals), "plain": to_object(plain)}
    unfinished = work / f"{key}.unfinished"
    unfinished.write_text(json.dumps(content), encoding="utf-8")
    unfinished.rename(work / f"{key}.json")


def read_legacy(work: Path, key: str) -> Legacy | None:
    """What this life left behind; None if it did not end in order."""
    file = work / f"{key}.json"
    if not file.exists():
        return None
    content = json.loads(file.read_text(encoding="utf-8"))
    plain = from_object(_Plain, content["plain"], where=key)
    return Legacy(
        totals=from_object(NodeTotals, content["totals"], where=key),
        served=np.load(work / f"{key}.served.npy", allow_pickle=False),
        public=np.load(work / f"{key}.public.npy", allow_pickle=False),
        loss=plain.loss,
        accuracy=plain.accuracy,
        per_class=plain.per_class,
        duration_s=plain.duration_s,
        slept_s=plain.slept_s,
        missed_s=plain.missed_s,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why one life failed."""

    kind: type[P2pflError] | None
    """None: a programmer's error."""
    sentence: str
    """In one line; empty: none was told."""
    trace: str
    """The traceback of a programmer's error; of a process that told nothing, the end of its log."""

    def error(self, node: str, otherwise: str) -> P2pflError:
        """As an error of the process that started it."""
        sentence = f"node {node}: {self.sentence or otherwise}"
        return CrashError(sentence, self.trace) if self.kind is None else self.kind(sentence)


def write_fault(work: Path, key: str, fault: BaseException) -> None:
    """Leave the reason why this life failed."""
    text, trace = " ".join(str(fault).split()), ""
    if not isinstance(fault, P2pflError):
        text = f"{type(fault).__name__}: {text}"
        trace = "".join(traceback.format_exception(fault))
    content = {"kind": type(fault).__name__, "text": text, "trace": trace}
    (work / f"{key}.fault").write_text(json.dumps(content), encoding="utf-8")


def read_fault(work: Path, key: str) -> Fault:
    """What this life left behind of its failure."""
    file, log = work / f"{key}.fault", log_file(work, key)
    if not file.exists():
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        said = [line for line in lines if line.strip()]
        trace = "".join(f"{line}\n" for line in said[-_LOG_LINES:])
        return Fault(kind=None, sentence=said[-1].strip() if said else "", trace=trace)
    content = json.loads(file.read_text(encoding="utf-8"))
    kind = _FAULTS.get(content["kind"])
    return Fault(kind=kind, sentence=f"{content['text']}", trace=f"{content['trace']}")


def log_file(work: Path, key: str) -> Path:
    """Where this life's output goes."""
    return work / f"{key}.log"


def model_score_file(job: Job) -> Path:
    """Where the accuracy of the job's model goes."""
    return Path(job.work) / f"{job.key}.score"


def node_of(key: str) -> NodeId:
    """The node whose life has this key."""
    return NodeId(key.rpartition("-")[0])
