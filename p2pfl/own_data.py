"""A party's own data: what one machine brings to a run that others described."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from p2pfl.config.schema import DataConfig
from p2pfl.errors import ConfigError
from p2pfl.types import NodeId

_PART: Final = re.compile(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnData:
    """Data of this machine: all of it, or one of several equal parts dealt by the run's seed."""

    data: DataConfig
    part: int = 1
    parts: int | None = 1
    """None: dealt as the experiment says, only read from here."""

    def shares(self, node: NodeId) -> tuple[NodeId, ...] | None:
        """Names to deal the samples to; `node` stands for the part that it keeps."""
        if self.parts is None:
            return None
        names = [NodeId(f"part-{i}") for i in range(1, self.parts + 1)]
        names[self.part - 1] = node
        return tuple(names)


def own_data(data: DataConfig, where: str | None, part: str | None) -> OwnData | None:
    """What `--data WHERE --part K/N` says of an experiment's data; None if it says nothing.

    `where` is an .npz file, a folder for the experiment's own kind, another data set's name, or
    `module:function`.

    Raises:
        ConfigError: the part is none, or the data is the quadratic kind, which nobody can bring.
    """
    if where is None and part is None:
        return None
    if data.kind == "quadratic":
        raise ConfigError("--data, --part: this experiment learns quadratics, which hold no data")
    found = _where(data, where)
    if part is None:
        # A folder is where a known data set lies; anything else is this party's own.
        as_dealt = found.kind == data.kind and found.kind != "npz"
        return OwnData(data=found, parts=None if as_dealt else 1)
    which, count = _part(part)
    return OwnData(data=found, part=which, parts=count)


def _where(data: DataConfig, where: str | None) -> DataConfig:
    if where is None:
        return data
    path = Path(where).expanduser()
    if path.suffix == ".npz":
        return DataConfig(kind="npz", folder=str(path.resolve()), samples=data.samples)
    if path.is_dir():
        if data.kind == "digits":
            raise ConfigError(
                f"--data {where}: the digits of this experiment lie in no folder (they come with"
                " scikit-learn); for data of your own name an .npz file"
            )
        return DataConfig(
            kind=data.kind,
            folder=str(path.resolve()),
            samples=data.samples,
            min_sequences=data.min_sequences,
        )
    return DataConfig(kind=where, samples=data.samples, min_sequences=data.min_sequences)


def _part(part: str) -> tuple[int, int]:
    found = _PART.fullmatch(part)
    if found is None or int(found[1]) > int(found[2]):
        raise ConfigError(f"--part {part}: expected K/N, such as 1/2 for the first of two halves")
    return int(found[1]), int(found[2])
