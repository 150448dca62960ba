"""The files that go to every host: the experiment, and what it names beside itself."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from p2pfl.config.write import config_to_toml
from p2pfl.errors import ConfigError
from p2pfl.experiment import Experiment
from p2pfl.runtime.host_words import CA_FILE, EXPERIMENT


def parcel(experiment: Experiment, *, ca_file: str | None) -> Mapping[str, bytes]:
    """File name -> content, all for one folder; in it, the experiment names its files by name.

    Raises:
        ConfigError: one of the files cannot be read.
    """
    config = experiment.config
    files: dict[str, bytes] = {}
    if config.topology.path:
        name, files_of = _file("topology", config.topology.path)
        files |= files_of
        config = replace(config, topology=replace(config.topology, path=name))
    if config.compute.trace:
        name, files_of = _file("compute", config.compute.trace)
        files |= files_of
        config = replace(config, compute=replace(config.compute, trace=name))
    if ca_file:
        files[CA_FILE] = _content(Path(ca_file), "broker.ca_file")
    # Which broker, and whom it trusts, comes with each node's orders.
    config = replace(config, broker=replace(config.broker, url="", ca_file=""))
    return {EXPERIMENT: config_to_toml(config).encode(), **files}


def _file(section: str, path: str) -> tuple[str, dict[str, bytes]]:
    name = f"{section}-{Path(path).name}"
    return name, {name: _content(Path(path), section)}


def _content(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{what}: {path} cannot be read: {error.strerror}") from error
