"""An experiment put together: from validated configuration to nodes that either driver can run."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields, replace
from functools import cached_property
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any, Final, cast

from p2pfl import local_training
from p2pfl.algorithms.base import Algorithm, Surroundings
from p2pfl.algorithms.discount import DiscountLaw
from p2pfl.algorithms.local import LocalOnly
from p2pfl.algorithms.star_rounds import RoundServer
from p2pfl.algorithms.star_updates import UpdateServer
from p2pfl.algorithms.suite import GOSSIPS, LABELS, STARS, make_rule
from p2pfl.config.check import check_config
from p2pfl.config.check_world import SERVER_TOO, named_nodes
from p2pfl.config.load import load_config
from p2pfl.config.schema import ExperimentConfig
from p2pfl.config.write import config_digest
from p2pfl.errors import ConfigError
from p2pfl.learning.own import load_function
from p2pfl.learning.trainer import Trainer
from p2pfl.learning_rate import LearningRate
from p2pfl.own_data import OwnData
from p2pfl.places import Place, graph_places, star_places
from p2pfl.protocol.node import Node
from p2pfl.protocol.settings import NodeSettings
from p2pfl.protocol.staleness import StalenessPolicy
from p2pfl.tasks import client_trainer_of, quadratic_task_of, trainer_of
from p2pfl.topology.build import Topology
from p2pfl.types import NodeId, Vector
from p2pfl.wiring import check_repair, check_topology, make_topology

SERVER: Final = NodeId("server")
CENTRE: Final = NodeId("centralized")


class Experiment:
    """One experiment, immutable. Heavy parts (graph, data, model) are made when first asked for.

    Raises:
        ConfigError: parts that were built in code do not fit together.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        *,
        folder: Path | None = None,
        home: "tuple[NodeId, OwnData, str] | None" = None,
    ) -> None:
        check_config(config)
        self.config = config
        self.folder = folder or Path()
        """Where the experiment file lies: relative paths and the user's modules are found there."""
        self._scales: Mapping[NodeId, float] | None = None
        self._update_s: float | None = None
        self._home = home
        """A node that brings data of its own, and the digest that it shares all the same."""

    def __repr__(self) -> str:
        return f"<Experiment {self.config.name}: {self.label}, seed {self.config.seed}>"

    def replace(self, **parts: object) -> "Experiment":
        """The same experiment with some parts exchanged, e.g. `network=Network(loss=0.1)`."""
        known = [f.name for f in fields(ExperimentConfig)]
        for name in parts:
            if name not in known:
                raise ConfigError(f"an experiment has no part {name!r}; it has {', '.join(known)}")
        return Experiment(replace(self.config, **parts), folder=self.folder)  # type: ignore[arg-type]  # names are checked above; the parts are dataclasses of their own

    def at_home(self, node: NodeId, own: OwnData) -> "Experiment":
        """The same experiment where `node` has data of its own; its digest stays what it is.

        Raises:
            ConfigError: nodes' objectives are weighed by samples, which only their owners know.
        """
        if self.config.training.weighting == "samples":
            raise ConfigError(
                'training.weighting is "samples", but who brings own data does not know how many'
                " the others have; give training.weights"
            )
        config = replace(self.config, data=own.data)
        return Experiment(config, folder=self.folder, home=(node, own, self.digest))

    @property
    def label(self) -> str:
        """The algorithm's name, as tables and pictures show it."""
        kind = self.config.algorithm.kind
        return LABELS.get(kind, kind.rpartition(":")[2])

    @cached_property
    def digest(self) -> str:
        """What all nodes of one run must agree on, 16 hex digits."""
        return config_digest(self.config) if self._home is None else self._home[2]

    @cached_property
    def topology(self) -> Topology:
        """The graph of the experiment file, connected; the star of FedAvg is derived from it."""
        topology = make_topology(self.config, folder=self.folder)
        self._check_nodes(topology.graph.nodes)
        if self._gossips:
            needs = self.rule.capabilities
            check_topology(topology, needs, label=self.label)
            if self.config.faults.repair_degree is not None:
                check_repair(topology, needs, label=self.label)
        return topology

    @cached_property
    def learners(self) -> tuple[NodeId, ...]:
        """The nodes that hold data, in order."""
        if self.config.algorithm.kind == "centralized":
            return (CENTRE,)
        return self.topology.graph.nodes

    @cached_property
    def places(self) -> Mapping[NodeId, Place]:
        """Every endpoint of the run, in order; a server comes last."""
        c, learners = self.config, self.learners
        if c.algorithm.kind in STARS:
            given = self._parameters
            return star_places(c.algorithm.kind, learners, given, server=SERVER, seed=c.seed)
        if not self._gossips:
            return {n: Place(node=n, neighbours=(), algorithm=LocalOnly()) for n in learners}
        return graph_places(self.topology, self.rule, seed=c.seed)

    @cached_property
    def rule(self) -> Algorithm[Any]:
        """What a gossiping node follows: built in, or the user's own class.

        Raises:
            ConfigError: the class cannot be found, or is no algorithm.
        """
        kind = self.config.algorithm.kind
        if ":" not in kind:
            return make_rule(kind, self._parameters)
        rule = load_function(kind, folder=str(self.folder))()
        missing = [name for name in ("advance", "finish") if not hasattr(rule, name)]
        if missing:
            raise ConfigError(
                f"algorithm.kind {kind!r} has no {' and no '.join(missing)}: derive it from "
                "p2pfl.VectorAlgorithm"
            )
        return cast("Algorithm[Any]", rule)

    @property
    def edges(self) -> tuple[tuple[NodeId, NodeId], ...]:
        """Who hears whom in this run, each link once, for pictures."""
        return tuple(
            (place.node, peer)
            for place in self.places.values()
            for peer, _ in place.neighbours
            if place.node < peer or all(peer_ != place.node for peer_, _ in self._heard(peer))
        )

    @cached_property
    def policy(self) -> StalenessPolicy:
        """How old a model may be; a star's barrier waits for the living and needs no bound."""
        c = self.config.staleness
        central = self.config.algorithm.kind in STARS
        return StalenessPolicy(
            policy="none" if central else c.policy,
            bound=c.bound,
            metric=c.metric,
            liveness_floor_s=c.liveness_floor_s,
            suspect_grace_s=c.suspect_grace_s,
            discount=DiscountLaw(c.discount, c.discount_a, c.discount_b),
            reciprocal=c.reciprocal,
        )

    @property
    def staleness_bound(self) -> float:
        """The largest staleness that may ever be mixed, in `staleness_unit`; inf: no bound."""
        return 0.0 if self._synchronous else self.policy.limit

    @property
    def _synchronous(self) -> bool:
        return self._gossips and self.rule.capabilities.synchronous

    @property
    def _gossips(self) -> bool:
        kind = self.config.algorithm.kind
        return kind in GOSSIPS or ":" in kind

    @property
    def _parameters(self) -> Mapping[str, object]:
        """What the file sets of the algorithm."""
        chosen = self.config.algorithm
        return {f.name: getattr(chosen, f.name) for f in fields(chosen) if f.name != "kind"}

    @property
    def staleness_unit(self) -> str:
        """What the bound counts, in words for tables."""
        words = {"missed": "periods missed", "age": "seconds", "reads": "reads", "lag": "versions"}
        if self.policy.policy == "wait" or self._synchronous:
            return "versions"
        return "periods missed" if self.policy.policy == "none" else words[self.policy.metric]

    def place(self, node: str) -> Place:
        """The endpoint with this id.

        Raises:
            ConfigError: the experiment has no such node.
        """
        places = self.places
        if node not in places:
            raise ConfigError(
                f"there is no node {node!r} in this experiment; it has {_listed(places)}"
            )
        return places[NodeId(node)]

    def make_trainer(self, *, only: Collection[NodeId] | None = None) -> Trainer:
        """The task's trainer: loads the data, and torch unless the task is quadratic.

        `only` names the nodes whose training data this process needs (None: all, for the
        simulator: then `[simulation] trainer` chooses).

        Raises:
            ConfigError: data, model and partition do not fit together.
            DataError: the data is missing or torn, or a node would hold none.
        """
        c = self.config
        if c.data.kind == "quadratic":
            return self._quadratic_trainer()
        own = None if self._home is None else self._home[1].shares(self._home[0])
        nodes, rate, base = own or self.learners, self.learning_rate, str(self.folder)
        if c.data.kind == "client":
            return client_trainer_of(c, nodes=nodes, learning_rate=rate, base=base, keep=only)
        pooled = c.algorithm.kind == "centralized" or own is not None
        return trainer_of(c, nodes=nodes, pooled=pooled, learning_rate=rate, base=base, keep=only)

    def _quadratic_trainer(self) -> Trainer:
        from p2pfl.learning.quadratics import QuadraticTrainer

        c, nodes = self.config, self.topology.graph.nodes
        weights: Mapping[NodeId, float] = {}
        if self._weighs:
            weights = local_training.objective_weights(c, dict.fromkeys(nodes, 1))
        task = quadratic_task_of(
            c, nodes=nodes, learning_rate=self.learning_rate, weights=tuple(weights.values())
        )
        return QuadraticTrainer(task.pooled(CENTRE) if c.algorithm.kind == "centralized" else task)

    @cached_property
    def learning_rate(self) -> LearningRate:
        """gamma(t) of every learner, by its own gradient steps."""
        return local_training.learning_rate(self.config, peers=len(self.topology.graph))

    def local_steps(self, node: NodeId, trainer: Trainer) -> int:
        """H of this node: given, or whole epochs over its own samples."""
        samples = trainer.samples(node) if self.place(node).learns else 0
        return local_training.local_steps(self.config, node, samples=samples)

    def objective_weights(self, trainer: Trainer) -> Mapping[NodeId, float]:
        """p_i of the objective sum p_i f_i, for every learner, with sum 1."""
        return local_training.objective_weights(self.config, self._samples(trainer))

    def update_scales(self, trainer: Trainer) -> Mapping[NodeId, float]:
        """c_i by which the local updates of each learner count, for rules that read it."""
        if self._scales is None:
            self._scales = local_training.update_scales(self.config, self._samples(trainer))
        return self._scales

    @property
    def _weighs(self) -> bool:
        """Whether the file says what each objective counts."""
        return bool(self.config.training.weighting or self.config.training.weights)

    def _samples(self, trainer: Trainer) -> Mapping[NodeId, int]:
        return {node: trainer.samples(node) for node in self.learners}

    def make_node(self, node: NodeId, *, run: str, trainer: Trainer, x0: Vector) -> Node:
        """The state machine of one endpoint, as both drivers run it."""
        place = self.place(node)
        settings = NodeSettings(
            run=run,
            schema=trainer.schema,
            node=node,
            neighbours=place.neighbours,
            rounds=place.rounds,
            versions_kept=place.versions_kept,
            samples=trainer.samples(node) if place.learns else 0,
            local_steps=self.local_steps(node, trainer),
            policy=self.policy,
            steps_max=self._steps_max(),
            digest=self.digest,
            step_sizes=self.learning_rate.step_size_sum,
        )
        algorithm = place.algorithm
        if place.surroundings is not None:
            algorithm = algorithm.at(self._told(place.surroundings, trainer))
        if isinstance(algorithm, RoundServer):
            algorithm = replace(
                algorithm,
                rounds=self._rounds(algorithm, trainer),
                weights=self.objective_weights(trainer) if self._weighs else {},
            )
        if isinstance(algorithm, UpdateServer):
            steps = self.config.stop.steps
            algorithm = replace(
                algorithm,
                steps_max=None if steps is None else steps * len(self.learners),
                scales=self.update_scales(trainer) if self._weighs else {},
            )
        return Node(settings, algorithm, x0)

    def _told(self, place: Surroundings, trainer: Trainer) -> Surroundings:
        """What a rule is told of its place once it is known how many samples everybody holds."""
        if self._update_s is None:
            self._update_s = local_training.update_s(self.config, self._samples(trainer))
        scale = self.update_scales(trainer).get(place.node, 1.0)
        return place._replace(scale=scale, update_s=self._update_s)

    def share_done(self, *, at_s: float, steps: int) -> float:
        """How much of the run is done by this time and these steps of all nodes, from 0 to 1."""
        stop = self.config.stop
        by_time = at_s / stop.time_s if stop.time_s else 0.0
        by_steps = steps / (stop.steps * len(self.topology.graph)) if stop.steps else 0.0
        return min(1.0, max(by_time, by_steps))

    def _steps_max(self) -> int | None:
        """Steps at which a node finishes by itself; a star's clients are ended by their server."""
        steps, kind = self.config.stop.steps, self.config.algorithm.kind
        if steps is None or kind in STARS:
            return None
        return steps * len(self.topology.graph) if kind == "centralized" else steps

    def _rounds(self, server: RoundServer[Any], trainer: Trainer) -> int | None:
        """Rounds in which the clients do, together, as many steps as the peers would."""
        steps = self.config.stop.steps
        if steps is None:
            return None
        clients = server.clients
        mean = sum(self.local_steps(n, trainer) for n in clients) / len(clients)
        return ceil(steps * len(clients) / (mean * server.cohort_size))

    def _heard(self, node: NodeId) -> tuple[tuple[NodeId, float], ...]:
        return self.places[node].neighbours

    def _check_nodes(self, nodes: tuple[NodeId, ...]) -> None:
        """Every node id that the file names elsewhere exists in the graph."""
        for reserved in (SERVER, CENTRE):
            if reserved in nodes:
                raise ConfigError(f"topology: the node id {reserved!r} is taken by the baselines")
        known = frozenset(nodes)
        for key, node in named_nodes(self.config):
            served = node == SERVER and key.startswith(SERVER_TOO)
            if node not in known and not served:
                raise ConfigError(
                    f"{key}: there is no node {node!r} in the topology; it has {_listed(nodes)}"
                )


def _listed(nodes: Iterable[NodeId]) -> str:
    """The first few names, for a sentence."""
    first = list(islice(nodes, 9))
    return ", ".join(first[:8]) + (", ..." if len(first) > len(first[:8]) else "")


def load_experiment(path: str | Path) -> Experiment:
    """The experiment of a file, validated.

    Raises:
        ConfigError: the file is missing or says something that cannot be; names the key.
    """
    file = Path(path)
    return Experiment(load_config(file), folder=file.resolve().parent)
