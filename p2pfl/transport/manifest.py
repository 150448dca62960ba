"""What a run is: retained at `p2pfl/1/<run>/manifest`; JSON, so that people can read it."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal, cast

from p2pfl.codec.fields import NODE_ID, RUN_ID
from p2pfl.errors import ProtocolError

State = Literal["open", "started", "ended"]

NAME_CHARACTERS_MAX: Final = 64
_BYTES_MAX: Final = 1_000_000
_STATES: Final = frozenset({"open", "started", "ended"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One run of one experiment."""

    run: str
    """The name, a dash and a random id."""
    name: str
    digest: str
    """Digest of the experiment: nodes with another are refused."""
    schema: str = ""
    """Hash of the model's names, shapes and dtypes; empty: not known yet."""
    nodes: tuple[str, ...] = ()
    experiment: str = ""
    """The experiment file's text."""
    state: State = "open"

    def with_state(self, state: State) -> "Manifest":
        """The same run, further on."""
        return replace(self, state=state)

    def encode(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self), ensure_ascii=False).encode()


def read_manifest(data: bytes) -> Manifest:
    """The manifest in these bytes. Raises ProtocolError(`manifest`)."""
    if len(data) > _BYTES_MAX:
        raise ProtocolError("manifest", f"{len(data)} bytes are more than {_BYTES_MAX}")
    try:
        plain: Any = json.loads(data)
        manifest = Manifest(**(plain | {"nodes": tuple(plain["nodes"])}))
    except (ValueError, TypeError, KeyError, RecursionError) as problem:
        raise ProtocolError("manifest", f"{type(problem).__name__}: {problem}"[:200]) from None
    texts = (manifest.run, manifest.name, manifest.digest, manifest.schema, manifest.experiment)
    if not all(isinstance(text, str) for text in (*texts, *manifest.nodes)):
        raise ProtocolError("manifest", "a field is no text")
    if not RUN_ID.fullmatch(manifest.run) or str(manifest.state) not in _STATES:
        raise ProtocolError("manifest", "its run or its state is none")
    if not all(NODE_ID.fullmatch(node) for node in manifest.nodes):
        raise ProtocolError("manifest", "a node id is none")
    return manifest


def encode_pointer(run: str) -> bytes:
    """What stands under an experiment's plain name: the id of its newest run."""
    return json.dumps({"run": run}).encode()


def read_pointer(data: bytes) -> str:
    """The run that a pointer names. Raises ProtocolError(`manifest`)."""
    try:
        run = cast("object", json.loads(data)["run"])
    except (ValueError, TypeError, KeyError, RecursionError) as problem:
        raise ProtocolError("manifest", f"pointer: {type(problem).__name__}") from None
    if not isinstance(run, str) or not RUN_ID.fullmatch(run):
        raise ProtocolError("manifest", "pointer: no run id")
    return run
