"""Which runs are computed in rounds: those in which nothing about messages is left to chance."""

from collections.abc import Sequence
from dataclasses import MISSING, Field, fields
from typing import Any, Final

from p2pfl.algorithms.rounds import Rounds
from p2pfl.config.schema import ExperimentConfig
from p2pfl.experiment import Experiment
from p2pfl.learning.trainer import Trainer
from p2pfl.simulation.cast import Cast, Member, begin_life
from p2pfl.simulation.measuring import Progress
from p2pfl.simulation.network import StarNetwork
from p2pfl.simulation.profile import Profile
from p2pfl.simulation.rounds import RoundSimulation

_FREE: Final = {
    "network": ("latency_s", "latency_sigma", "links", "codec"),
    "compute": ("step_s", "distribution", "sigma", "alpha", "node_sigma", "slowdown"),
    "faults": (),
}
"""Sections of the world -> what a run in rounds may have; all else must be as it is by default."""

_NOT_OF_THE_WORLD: Final = (
    *("name", "seed", "topology", "data", "partition", "model", "training", "algorithm"),
    *("staleness", "stop", "evaluation", "simulation", "broker", "comparison"),
)
"""Parts of an experiment that a run in rounds takes as they are."""

_CODECS: Final = ("float32", "float16", "bfloat16")
"""Those that round each number by itself."""

_FLOOR_S_LEAST: Final = 1e-3
"""Below this liveness floor, rounding decides when nodes beat."""


def round_simulation(
    experiment: Experiment,
    trainer: Trainer,
    *,
    progress: Progress | None = None,
    profile: Profile | None = None,
) -> RoundSimulation | None:
    """The run, to be computed in rounds; None: it must go event by event."""
    config = experiment.config
    if config.simulation.rounds == "events" or not _plain_world(config):
        return None
    places = list(experiment.places.values())
    if not all(place.learns and place.algorithm.capabilities.synchronous for place in places):
        return None
    x0, run = trainer.initial(), f"{config.name}-simulated"
    network = StarNetwork(config.network, config.seed)
    members: list[Member] = []
    for place in places:
        node = experiment.make_node(place.node, run=run, trainer=trainer, x0=x0)
        member = begin_life(node, seed=config.seed)
        if member is None or not _alike(member, (members or [member])[0]):
            return None
        members.append(member)
    if not (_mutual(members) and _nobody_seems_dead(members, network)):
        return None
    rounds = _rounds(members)
    if rounds is None:
        return None
    cast = Cast(members, network.size_bytes)
    return RoundSimulation(experiment, trainer, cast, rounds, progress=progress, profile=profile)


def _plain_world(config: ExperimentConfig) -> bool:
    """True if no message is lost, held up or replaced, and every device is always there."""
    if config.network.codec not in _CODECS or any(link.loss for link in config.network.links):
        return False
    return _plain(config, (*_FREE, *_NOT_OF_THE_WORLD)) and all(
        _plain(getattr(config, section), free) for section, free in _FREE.items()
    )


def _plain(part: Any, free: Sequence[str]) -> bool:  # noqa: ANN401 - any dataclass
    """True if every field is as it is by default, but for the free ones."""
    return all(
        getattr(part, field.name) == _default(field)
        for field in fields(part)
        if field.name not in free
    )


def _default(field: Field[Any]) -> object:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _alike(one: Member, other: Member) -> bool:
    """True if these two nodes may share rounds: the same rule, and the same last version."""
    mine, theirs = one.settings, other.settings
    if type(one.algorithm) is not type(other.algorithm) or mine.rounds:
        return False
    return mine.steps_max is None or mine.local_steps == theirs.local_steps


def _mutual(members: Sequence[Member]) -> bool:
    """True if everybody hears whom he is heard by: neighbours are one version apart at most."""
    pairs = {
        (member.settings.node, peer) for member in members for peer, _ in member.settings.neighbours
    }
    return all((peer, node) in pairs for node, peer in pairs)


def _nobody_seems_dead(members: Sequence[Member], network: StarNetwork) -> bool:
    """True if each node's first words are there before the floor is over; then its beats are."""
    floor_s = members[0].settings.policy.liveness_floor_s
    return floor_s >= _FLOOR_S_LEAST and all(
        network.law.mean_latency_s(peer, member.settings.node) <= floor_s
        for member in members
        for peer, _ in member.settings.neighbours
    )


def _rounds(members: Sequence[Member]) -> Rounds | None:
    """The nodes' common rule in rounds, if its own class says how."""
    rule = members[0].algorithm
    if "in_rounds" not in vars(type(rule)):
        return None
    nodes = {member.settings.node: member.algorithm for member in members}
    return rule.in_rounds(members[0].model.vector, nodes)
