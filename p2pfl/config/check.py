"""What a typed experiment must also satisfy: ranges, and keys that only make sense together.

One function per concern; each refuses with one line that names the key, what was found and what
is allowed. What needs the graph or the data themselves is checked where these are built.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from typing import Final
from urllib.parse import urlsplit

from p2pfl.algorithms.base import Capabilities
from p2pfl.algorithms.suite import GOSSIPS, LABELS, choices_of, make_rule, needs_of, parameters_of
from p2pfl.config.check_client import check_client
from p2pfl.config.check_training import check_training
from p2pfl.config.check_world import check_world, named_nodes
from p2pfl.config.ranges import RANGES
from p2pfl.config.read import Place, shown, suggestion
from p2pfl.config.schema import AlgorithmConfig, ExperimentConfig, StalenessConfig
from p2pfl.topology.families import FAMILIES
from p2pfl.transport.address import urls_of

BUILT_IN_DATA: Final = (
    "digits",
    "mnist",
    "fashion-mnist",
    "heart-disease",
    "shakespeare",
    "npz",
    "client",
    "quadratic",
)
BUILT_IN_ALGORITHMS: Final = tuple(LABELS)
BUILT_IN_MODELS: Final = ("softmax", "mlp", "cnn", "lstm", "quadratic")

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,48}")
"""A run is the name and a random id, and stands in MQTT topics and folder names."""
_NODE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FUNCTION: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")

GRAPH_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    **{kind: family.needs for kind, family in FAMILIES.items()},
    "file": ("path",),
}
"""Family of graphs -> the keys without which it is no graph."""


def _graph_keys() -> dict[str, tuple[str, ...]]:
    """Key -> the families that read it."""
    reads = {kind: {*family.needs, *family.reads} for kind, family in FAMILIES.items()}
    reads["file"] = {"path"}
    keys = dict.fromkeys(key for known in reads.values() for key in sorted(known))
    return {key: tuple(kind for kind, known in reads.items() if key in known) for key in keys}


OWN_KEYS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "topology": _graph_keys(),
    "data": dict.fromkeys(
        ("dimension", "condition", "spread", "noise", "sites"),
        ("quadratic",),
    )
    | {"min_sequences": ("shakespeare",)},
    "partition": {
        "alpha": ("dirichlet",),
        "min_partition_size": ("dirichlet",),
        "shards_per_node": ("shard",),
    },
}
"""Section -> key -> the kinds that read it; elsewhere it would be silently ignored."""

_ALGORITHM_KEYS: Final = frozenset(f.name for f in fields(AlgorithmConfig)) - {"kind"}


def check_config(config: ExperimentConfig, *, source: str = "experiment") -> None:
    """Refuse an experiment whose values are out of range or contradict each other.

    Raises:
        ConfigError: the first thing wrong; `source` says where it was read from.
    """
    place = Place(source)
    _check_ranges(config, place)
    _check_names(config, place)
    _check_own_keys(config, place)
    _check_topology(config, place)
    _check_task(config, place)
    check_client(config, place)
    check_training(config, place)
    _check_algorithm(config, place)
    _check_staleness(config, place)
    check_world(config, place)
    _check_stop(config, place)
    _check_broker(config, place)


def foreign_keys(section: str, kind: str) -> frozenset[str]:
    """The keys of a section that a variant does not read."""
    if section == "algorithm":
        return _ALGORITHM_KEYS - parameters_of(kind)
    own = OWN_KEYS.get(section, {})
    foreign = frozenset(key for key, kinds in own.items() if kind not in kinds)
    if section == "topology" and kind in FAMILIES and FAMILIES[kind].own_weights:
        return foreign | {"weights", "target"}
    return foreign


def _check_ranges(config: ExperimentConfig, place: Place) -> None:
    for key, allowed in RANGES.items():
        for where, number in _numbers(config, place, key):
            if number not in allowed:
                raise where.error(f"is {number:g}; allowed: {allowed}")


def _numbers(config: ExperimentConfig, place: Place, key: str) -> Iterator[tuple[Place, float]]:
    """The numbers under one dotted key: none if unset, several in lists and tables."""
    found: list[tuple[Place, object]] = [(place, config)]
    for name in key.split("."):
        found = [
            (where.at(name), getattr(part, name))
            for outer, value in found
            for where, part in _items(outer, value)
            if part is not None
        ]
    for outer, value in found:
        for where, number in _items(outer, value):
            if isinstance(number, (int, float)):
                yield where, number


def _items(place: Place, value: object) -> Iterator[tuple[Place, object]]:
    """What a list or a table holds, or the value itself."""
    if isinstance(value, Mapping):
        yield from ((place.at(name), each) for name, each in value.items())
    elif isinstance(value, tuple):
        yield from ((place.at(position), each) for position, each in enumerate(value))
    else:
        yield place, value


def _check_names(config: ExperimentConfig, place: Place) -> None:
    if not _NAME.fullmatch(config.name):
        raise place.at("name").error(
            f"is {shown(config.name)}; allowed: 1 to 48 letters, digits, _ and -"
        )
    for key, node in named_nodes(config):
        _check_node(node, place.at(key))
    for position, edge in enumerate(config.topology.edges):
        for node in edge:
            _check_node(node, place.at(f"topology.edges[{position}]"))


def _check_node(node: str, place: Place) -> None:
    if not _NODE.fullmatch(node):
        raise place.error(
            f"names the node {shown(node)}; allowed: 1 to 64 letters, digits, _ and -"
        )


def _check_own_keys(config: ExperimentConfig, place: Place) -> None:
    """Nothing that the user wrote is ignored: a key that its kind never reads is refused."""
    for section, keys in OWN_KEYS.items():
        part = getattr(config, section)
        defaults = {field.name: field.default for field in fields(part)}
        for key, kinds in keys.items():
            value = getattr(part, key)
            if part.kind not in kinds and defaults[key] is not MISSING and value != defaults[key]:
                raise place.at(f"{section}.{key}").error(
                    f"is read by the kind {' or '.join(kinds)} only, and"
                    f" {section}.kind is {shown(part.kind)}; remove one of them"
                )


def _check_topology(config: ExperimentConfig, place: Place) -> None:
    topology = config.topology
    for key in GRAPH_NEEDS[topology.kind]:
        if getattr(topology, key) in (None, (), ""):
            raise place.at(f"topology.{key}").error(
                f'is missing; the kind "{topology.kind}" needs it'
            )
    _check_weights(config, place)
    kind = config.algorithm.kind
    needs = make_rule(kind, {}).capabilities if kind in GOSSIPS else Capabilities(undirected=False)
    scheduled = topology.kind in FAMILIES and FAMILIES[topology.kind].scheduled
    if topology.directed and needs.undirected and not (scheduled and needs.scheduled):
        raise place.at("topology.directed").error(
            f'is true, and algorithm.kind "{config.algorithm.kind}" needs an undirected graph'
            " (its mixing matrix is symmetric); set it to false"
        )


def _check_weights(config: ExperimentConfig, place: Place) -> None:
    topology, training = config.topology, config.training
    own = topology.kind in FAMILIES and FAMILIES[topology.kind].own_weights
    if own and topology.weights != "metropolis":
        raise place.at("topology.weights").error(
            f'is "{topology.weights}", but the kind "{topology.kind}" brings its own; remove it'
        )
    if topology.target and topology.weights != "target":
        raise place.at("topology.target").error(
            f'is read by the weights "target" only, and topology.weights is "{topology.weights}"'
        )
    if topology.weights != "target":
        return
    if not topology.target:
        raise place.at("topology.target").error(
            'is missing; the weights "target" need it, as in target = { n0 = 2.0 }'
        )
    if training.weighting or training.weights:
        raise place.at("topology.weights").error(
            'is "target", and [training] weighs the objectives too; remove one of them'
        )


def _check_task(config: ExperimentConfig, place: Place) -> None:
    for section, kind, built_in, own in (
        ("data", config.data.kind, BUILT_IN_DATA, "module:function"),
        ("model", config.model.kind, BUILT_IN_MODELS, "module:function"),
        ("algorithm", config.algorithm.kind, BUILT_IN_ALGORITHMS, "module:Class"),
    ):
        if kind not in built_in and not _FUNCTION.fullmatch(kind):
            raise place.at(f"{section}.kind").error(
                f"is {shown(kind)}{suggestion(kind, built_in)}"
                f' (allowed: {", ".join(built_in)} or your own "{own}")'
            )
    if (config.data.kind == "quadratic") != (config.model.kind == "quadratic"):
        raise place.at("model.kind").error(
            f'is "{config.model.kind}" and data.kind is "{config.data.kind}";'
            ' "quadratic" goes with "quadratic" only'
        )
    if config.data.kind == "quadratic" and config.partition.kind != "iid":
        raise place.at("partition.kind").error(
            f'is "{config.partition.kind}", but quadratics have no samples to deal out;'
            " remove it (data.spread and data.sites make the nodes differ)"
        )


def _check_algorithm(config: ExperimentConfig, place: Place) -> None:
    """Every key is read by somebody, and the algorithm goes with the rest of the experiment."""
    for position, kind in enumerate(config.comparison.algorithms):
        if kind not in BUILT_IN_ALGORITHMS:
            raise place.at(f"comparison.algorithms[{position}]").error(
                f"is {shown(kind)}{suggestion(kind, BUILT_IN_ALGORITHMS)}"
                f" (allowed: {', '.join(BUILT_IN_ALGORITHMS)})"
            )
    present = (config.algorithm.kind, *config.comparison.algorithms)
    for key in sorted(_ALGORITHM_KEYS):
        if getattr(config.algorithm, key) is not None and not any(
            key in parameters_of(kind) for kind in present
        ):
            readers = " or ".join(kind for kind in LABELS if key in parameters_of(kind))
            raise place.at(f"algorithm.{key}").error(
                f"is read by {readers} only, and algorithm.kind is"
                f" {shown(config.algorithm.kind)}; remove it"
            )
    for key, allowed in choices_of(config.algorithm.kind).items():
        found = getattr(config.algorithm, key)
        if found is not None and found not in allowed:
            raise place.at(f"algorithm.{key}").error(
                f'is "{found}"; algorithm.kind "{config.algorithm.kind}" knows {", ".join(allowed)}'
            )
    for needs in needs_of(config.algorithm.kind):
        _check_capabilities(config, needs, place)
    _check_star(config.algorithm, place.at("algorithm"))


def _check_capabilities(config: ExperimentConfig, needs: Capabilities, place: Place) -> None:
    """What an algorithm cannot go with is refused, with the reason."""
    kind, training = config.algorithm.kind, config.training
    if needs.plain_sgd and (training.optimizer != "sgd" or training.momentum):
        raise place.at("training.optimizer").error(
            f'is "{training.optimizer}" with momentum {training.momentum:g}, but algorithm.kind'
            f' "{kind}" reads the gradient off what training has moved; use "sgd" without momentum'
        )
    if not needs.compressible and config.network.codec != "float32":
        raise place.at("network.codec").error(
            f'is "{config.network.codec}", but algorithm.kind "{kind}" needs its neighbours\''
            ' models exact; set it to "float32"'
        )
    if needs.synchronous:
        _check_synchronous(config, place)


def _check_star(chosen: AlgorithmConfig, place: Place) -> None:
    betas = chosen.server_betas
    if betas is not None and len(betas) != 2:  # noqa: PLR2004 - two moments
        raise place.at("server_betas").error(f"has {len(betas)} numbers; allowed: two")
    if chosen.candidates is not None and chosen.selection != "loss":
        raise place.at("candidates").error('is read with selection = "loss" only; remove it')


def _check_synchronous(config: ExperimentConfig, place: Place) -> None:
    """It reads each neighbour at exactly its own version: no other staleness makes sense."""
    chosen, default = config.staleness, StalenessConfig()
    untouched = (chosen.policy, chosen.bound, chosen.metric) == (
        default.policy,
        default.bound,
        default.metric,
    )
    if not (untouched or chosen.policy == "none" or (chosen.policy, chosen.bound) == ("wait", 0)):
        raise place.at("staleness.policy").error(
            f'is "{chosen.policy}" with bound {chosen.bound:g}, but algorithm.kind'
            f' "{config.algorithm.kind}" always waits for exactly its own version; remove it, or'
            ' set algorithm.kind = "pull_mix"'
        )


def _check_staleness(config: ExperimentConfig, place: Place) -> None:
    staleness = config.staleness
    if staleness.policy != "wait":
        return
    if staleness.metric not in {StalenessConfig().metric, "lag"}:
        raise place.at("staleness.metric").error(
            f'is "{staleness.metric}", but the policy "wait" counts version lag; set it to "lag"'
        )
    if not float(staleness.bound).is_integer():
        raise place.at("staleness.bound").error(
            f'is {staleness.bound:g}; allowed with the policy "wait": a whole number of versions'
        )


def _check_stop(config: ExperimentConfig, place: Place) -> None:
    if config.stop.time_s is None and config.stop.steps is None:
        raise place.at("stop").error("is empty; give time_s, steps or both (the first one reached)")


def _check_broker(config: ExperimentConfig, place: Place) -> None:
    here = place.at("broker.url")
    for url in urls_of(config.broker.url):
        try:
            parts = urlsplit(url)
            host, password, _ = parts.hostname, parts.password, parts.port
        except ValueError as error:
            raise here.error(f"is no address: {error}") from error
        if password is not None:
            raise here.error(
                "holds a password; take it out: the password comes from the environment"
            )
        if parts.scheme not in {"mqtt", "mqtts"} or not host:
            raise here.error(f"is {shown(url)}; allowed: mqtt://[user@]host[:port] or mqtts://...")
