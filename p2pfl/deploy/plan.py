"""What every kind of deployment is made of: one run, its nodes, their secrets and limits."""

import base64
import hashlib
import re
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from p2pfl.config.write import config_to_toml
from p2pfl.errors import ConfigError
from p2pfl.experiment import Experiment
from p2pfl.runtime.party import shareable
from p2pfl.transport.invitation import make_certificate, new_password
from p2pfl.transport.place import new_run_id

BROKER_PORT: Final = 8883
HEALTH_PORT: Final = 9464
"""Where exporters listen that nothing else is said of."""

WAIT_FOR_RUN_S: Final = 300
"""So long a node waits for the first one to describe the run."""

WAIT_FOR_NEIGHBOURS_S: Final = 600
"""So long it waits for its neighbours: their machines may have images to fetch."""

_PASSWORD_ROUNDS: Final = 101
"""As mosquitto_passwd has it: the passwords are random and long, there is nothing to guess."""
_SALT_BYTES: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one node may use of its machine."""

    cpus: float = 1.0
    memory_mb: int = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One file of a deployment."""

    content: bytes
    secret: bool = False
    """Only its owner may read it."""


Files = dict[str, Made]
"""Path below the folder -> file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One deployment: everything but its kind."""

    experiment: Experiment
    """As all machines have it: without a path of this one."""
    run: str
    broker: Sequence[str]
    """Names and addresses of the broker, as nodes know it; the first is the one to use."""
    limits: Limits = field(default_factory=Limits)
    data: str = ""
    """Where the data lies on the machines; empty: it comes with p2pfl."""
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    modules: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """The user's own modules that the experiment names: file name -> content."""

    @property
    def name(self) -> str:
        """The experiment's, in small letters, as unit, project and object names may be."""
        return plain_name(self.experiment.config.name)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Every endpoint, in order; the first describes the run to the others."""
        return tuple(str(name) for name in self.experiment.places)

    def experiment_toml(self, data: str = "") -> bytes:
        """The experiment's file, with the data at `data` on the machine that reads it."""
        config = self.experiment.config
        here = replace(config, data=replace(config.data, folder=data))
        return config_to_toml(here).encode()

    def node_words(
        self,
        node: str,
        *,
        folder: str,
        password_file: str,
        checkpoints: str,
        health: tuple[str, int] = ("0.0.0.0", HEALTH_PORT),  # noqa: S104 - of a container
    ) -> list[str]:
        """What a node's process is started with, after the word `p2pfl`."""
        first = node == self.nodes[0]
        about_run = ["--create-run"] if first else ["--wait-for-run", str(WAIT_FOR_RUN_S)]
        host = self.broker[0]
        where = f"[{host}]" if ":" in host else host
        return [
            *("node", f"{folder}/experiment.toml", "--id", node, "--run", self.run, *about_run),
            *("--broker", f"mqtts://{node}@{where}:{BROKER_PORT}"),
            *("--ca-file", f"{folder}/broker.pem", "--password-file", password_file),
            *("--checkpoints", checkpoints),
            *("--wait-for-neighbours", str(WAIT_FOR_NEIGHBOURS_S)),
            *("--health-host", health[0], "--health-port", str(health[1])),
            *("--log-format", "json"),
        ]


def make_plan(
    experiment: Experiment, *, broker: Sequence[str], limits: Limits, data: str = ""
) -> Plan:
    """A deployment of this experiment with a run, passwords and names of its own.

    Raises:
        ConfigError: a node has the broker's name, or a module of the user's is no single file.
    """
    shared = shareable(experiment)
    names = [str(name) for name in shared.places]
    taken = {plain_name(name) for name in names}
    if "broker" in taken:
        raise ConfigError('deploy: a node is called "broker", which is the broker\'s own name here')
    if len(taken) < len(names):
        raise ConfigError(
            "deploy: two nodes differ in capitals, _ and - alone; units and objects cannot"
        )
    return Plan(
        experiment=shared,
        run=new_run_id(experiment.config.name),
        broker=broker,
        limits=limits,
        data=data,
        passwords={name: new_password() for name in names},
        modules=_modules(experiment),
    )


def plain_name(name: str) -> str:
    """A name in small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "p2pfl"


def certificate_of(names: Sequence[str]) -> tuple[bytes, bytes]:
    """A certificate for the broker under these names, and its key, both PEM."""
    with tempfile.TemporaryDirectory(prefix="p2pfl-deploy-") as folder:
        certificate, key, _ = make_certificate(Path(folder), list(names))
        return certificate.read_bytes(), key.read_bytes()


def hashed_password(password: str) -> str:
    """As Mosquitto's password file has it: PBKDF2 with SHA-512."""
    salt = secrets.token_bytes(_SALT_BYTES)
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _PASSWORD_ROUNDS)
    words = (base64.b64encode(part).decode() for part in (salt, key))
    return f"$7${_PASSWORD_ROUNDS}${'$'.join(words)}"


def _modules(experiment: Experiment) -> Mapping[str, bytes]:
    """The files of the user's own model, data and algorithm."""
    config = experiment.config
    found: dict[str, bytes] = {}
    for kind in (config.model.kind, config.data.kind, config.algorithm.kind):
        module, colon, _ = kind.partition(":")
        if not colon:
            continue
        file = experiment.folder / f"{module}.py"
        if not file.is_file():
            raise ConfigError(
                f"deploy: {kind!r} is not in a file {file.name} beside the experiment; put it"
                " there, as one file"
            )
        found[file.name] = file.read_bytes()
    return found
