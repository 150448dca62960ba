"""All algorithms by the names that experiment files know them by: one line each.

A parameter of an algorithm is a field of its class; the file's `[algorithm]` table sets it by the
same name, and a key that the chosen algorithm does not have is refused.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final, Literal, NamedTuple, get_args, get_origin, get_type_hints

from p2pfl.algorithms.ad_psgd import ADPSGD
from p2pfl.algorithms.base import Algorithm, Capabilities
from p2pfl.algorithms.consume_once import ConsumeOnce
from p2pfl.algorithms.d2 import D2
from p2pfl.algorithms.dpsgd import DPSGD
from p2pfl.algorithms.dsgdm import DSGDm
from p2pfl.algorithms.epidemic import Epidemic
from p2pfl.algorithms.fedadam import FedAdamServer
from p2pfl.algorithms.fedasync import FedAsyncServer
from p2pfl.algorithms.fedavg import FedAvgClient, FedAvgServer
from p2pfl.algorithms.fedavgm import FedAvgMServer
from p2pfl.algorithms.fedbuff import FedBuffClient, FedBuffServer
from p2pfl.algorithms.fedprox import FedProxClient
from p2pfl.algorithms.gossip_learning import GossipLearning
from p2pfl.algorithms.gradient_tracking import GradientTracking
from p2pfl.algorithms.local import LocalOnly
from p2pfl.algorithms.local_sgd import LocalSGD
from p2pfl.algorithms.mix_on_receive import MixOnReceive
from p2pfl.algorithms.pull_mix import PullMix
from p2pfl.algorithms.push_sum import RobustPushSum
from p2pfl.algorithms.qg_dsgdm import QGDSGDm
from p2pfl.algorithms.relay_sum import RelaySum
from p2pfl.algorithms.scaffold import ScaffoldClient, ScaffoldServer
from p2pfl.algorithms.sgp import SGP
from p2pfl.algorithms.star_updates import UpdateClient
from p2pfl.algorithms.track_mix import TrackMix
from p2pfl.types import NodeId


class Gossip(NamedTuple):
    """An algorithm that every node of a graph follows."""

    label: str
    """Its name, as tables and pictures show it."""
    rule: type[Any]


class Star(NamedTuple):
    """An algorithm of a server and its clients."""

    label: str
    server: type[Any]
    client: type[Any]


GOSSIPS: Final[Mapping[str, Gossip]] = {
    "pull_mix": Gossip("PullMix", PullMix),
    "dpsgd": Gossip("D-PSGD", DPSGD),
    "local_sgd": Gossip("Local SGD", LocalSGD),
    "dsgdm": Gossip("DSGDm", DSGDm),
    "qg_dsgdm": Gossip("QG-DSGDm", QGDSGDm),
    "d2": Gossip("D2", D2),
    "relay_sum": Gossip("RelaySum", RelaySum),
    "gradient_tracking": Gossip("gradient tracking", GradientTracking),
    "track_mix": Gossip("TrackMix", TrackMix),
    "ad_psgd": Gossip("AD-PSGD", ADPSGD),
    "gossip_learning": Gossip("gossip learning", GossipLearning),
    "consume_once": Gossip("consume-once mixing", ConsumeOnce),
    "mix_on_receive": Gossip("mixing on receipt", MixOnReceive),
    "epidemic": Gossip("epidemic learning", Epidemic),
    "sgp": Gossip("SGP", SGP),
    "push_sum": Gossip("RobustPushSum", RobustPushSum),
}

STARS: Final[Mapping[str, Star]] = {
    "fedavg": Star("FedAvg", FedAvgServer, FedAvgClient),
    "fedprox": Star("FedProx", FedAvgServer, FedProxClient),
    "fedavgm": Star("FedAvgM", FedAvgMServer, FedAvgClient),
    "fedadam": Star("FedAdam", FedAdamServer, FedAvgClient),
    "scaffold": Star("SCAFFOLD", ScaffoldServer, ScaffoldClient),
    "fedasync": Star("FedAsync", FedAsyncServer, UpdateClient),
    "fedbuff": Star("FedBuff", FedBuffServer, FedBuffClient),
}

ALONE: Final[Mapping[str, Gossip]] = {
    "local": Gossip("local only", LocalOnly),
    "centralized": Gossip("centralized", LocalOnly),
}

LABELS: Final[Mapping[str, str]] = {
    kind: entry.label for group in (GOSSIPS, STARS, ALONE) for kind, entry in group.items()
}

_GIVEN: Final = frozenset(
    {
        "scale",
        "server",
        "clients",
        "seed",
        "rounds",
        "steps_max",
        "weights",
        "scales",
        "hearers",
        "share",
        "place",
    }
)
"""Fields that the experiment sets by itself, node by node."""


def parameters_of(kind: str) -> frozenset[str]:
    """The keys of `[algorithm]` that this algorithm reads, `kind` apart; the user's own: none."""
    if kind in STARS:
        return _fields(STARS[kind].server) | _fields(STARS[kind].client)
    entry = {**GOSSIPS, **ALONE}.get(kind)
    return frozenset() if entry is None else _fields(entry.rule)


def choices_of(kind: str) -> Mapping[str, tuple[str, ...]]:
    """The parameters of a gossip algorithm that are words, and which words each may be."""
    if kind not in GOSSIPS:
        return {}
    hints = get_type_hints(GOSSIPS[kind].rule)
    return {name: get_args(hint) for name, hint in hints.items() if get_origin(hint) is Literal}


def reads_weights(kind: str) -> bool:
    """Whether nodes' objectives may be weighed under this algorithm.

    A gossip rule then has a field `scale`, a server `weights` or `scales`. The user's own class is
    taken to read its scale; nodes alone combine nothing that could be weighed.
    """
    if kind in STARS:
        return any(f.name in {"weights", "scales"} for f in fields(STARS[kind].server))
    return kind not in GOSSIPS or any(f.name == "scale" for f in fields(GOSSIPS[kind].rule))


def needs_of(kind: str) -> tuple[Capabilities, ...]:
    """What an algorithm that combines models needs and allows: a star's server, and its client."""
    if kind in GOSSIPS:
        return (make_rule(kind, {}).capabilities,)
    if kind in STARS:
        nobody = NodeId("server")
        return (
            make_server(kind, {}, clients=(nobody,), seed=0).capabilities,
            make_client(kind, {}, server=nobody).capabilities,
        )
    return ()


def make_rule(kind: str, given: Mapping[str, object]) -> Algorithm[Any]:
    """The gossip algorithm of this name; `given` sets parameters, None leaves the default."""
    return _made(GOSSIPS[kind].rule, given)


def make_server(kind: str, given: Mapping[str, object], **place: object) -> Algorithm[Any]:
    """The server of this star; `place` says who its clients are."""
    return _made(STARS[kind].server, given, **place)


def make_client(kind: str, given: Mapping[str, object], **place: object) -> Algorithm[Any]:
    """A client of this star; `place` says who its server is."""
    return _made(STARS[kind].client, given, **place)


def _fields(rule: type[Any]) -> frozenset[str]:
    return _named(rule) - _GIVEN


def _named(rule: type[Any]) -> frozenset[str]:
    return frozenset(field.name for field in fields(rule))


def _made(rule: type[Any], given: Mapping[str, object], **place: object) -> Algorithm[Any]:
    known = _fields(rule)
    chosen = {key: value for key, value in given.items() if key in known and value is not None}
    told = {key: value for key, value in place.items() if key in _named(rule)}
    made: Algorithm[Any] = rule(**chosen, **told)
    return made
