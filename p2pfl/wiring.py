"""The topology of an experiment: what its data and its links decide, what its algorithm allows."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from p2pfl.algorithms.base import Capabilities
from p2pfl.config.schema import ExperimentConfig, TopologyConfig
from p2pfl.errors import ConfigError
from p2pfl.topology.build import Topology, build_topology
from p2pfl.topology.families import Known
from p2pfl.types import Array, Matrix, NodeId


def make_topology(config: ExperimentConfig, *, folder: Path) -> Topology:
    """The connected graph of an experiment; relative paths begin in `folder`.

    Only D-Cliques load the data, to see who is dealt which labels; a latency-aware graph looks at
    the latencies of `[[network.links]]`, if there are any.

    Raises:
        ConfigError: the words describe no graph.
        DataError: the data that the graph follows is missing or torn.
    """
    words = {f.name: getattr(config.topology, f.name) for f in fields(TopologyConfig)}
    tells_latency = any(link.latency_s is not None for link in config.network.links)
    known = Known(
        label_counts=lambda nodes: _label_counts(config, nodes, folder),
        latency_s=(lambda nodes: _latencies_s(config, nodes)) if tells_latency else None,
    )
    return build_topology(**words, base=folder, known=known)


def check_topology(topology: Topology, needs: Capabilities, *, label: str) -> None:
    """Refuse a graph that the algorithm `label` cannot use.

    Raises:
        ConfigError: says what it needs, and why.
    """
    schedule = topology.schedule
    if schedule is not None:
        _check_schedule(topology.kind, needs, label=label)
        if needs.undirected and not schedule.doubly_stochastic:
            raise ConfigError(
                f'{label} needs rounds that each keep the mean, and those of "{topology.kind}" do '
                'so only on average; take another schedule, e.g. "el_oracle"'
            )
    elif needs.undirected and topology.graph.directed:
        raise ConfigError(
            f"{label} needs an undirected graph: on one-way links its symmetric weights "
            "do not exist and some nodes' data would count more than others'; give an "
            "undirected topology"
        )
    links = len(topology.graph.edges)
    if needs.tree and links >= len(topology.graph):
        raise ConfigError(
            f"{label} needs a graph without cycles, on which its sums would come back and be "
            f"counted again: a tree of {len(topology.graph)} nodes has {len(topology.graph) - 1} "
            f'links, and this graph has {links}; take e.g. "path", "star" or the edges of a tree'
        )
    if needs.conserving and not topology.symmetric:
        static = f'the weights "{topology.weights}" of this graph', 'take "metropolis"'
        changing = f'the rounds of "{topology.kind}"', 'take another schedule, e.g. "base"'
        weights, remedy = static if schedule is None else changing
        raise ConfigError(
            f"{label} needs w_ij = w_ji on every link, and {weights} are not so: the sums that it "
            f"keeps over all nodes would not hold; {remedy}"
        )
    if schedule is None and not needs.synchronous and not needs.column_stochastic:
        _check_signs(topology, label=label)


def check_repair(topology: Topology, needs: Capabilities, *, label: str) -> None:
    """Refuse to mend the graph where the algorithm, or the weights, are those of one that stays.

    Raises:
        ConfigError: says why.
    """
    if not needs.rewirable:
        raise ConfigError(
            f"{label} keeps what it has with each neighbour, or waits for it, and cannot be given "
            'others: remove faults.repair_degree, or take "pull_mix"'
        )
    if topology.weights not in {"metropolis", "lazy"}:
        raise ConfigError(
            f'faults.repair_degree: the weights "{topology.weights}" are those of the whole graph; '
            'when it is mended both ends of a link must find theirs anew: take "metropolis"'
        )


def _check_schedule(kind: str, needs: Capabilities, *, label: str) -> None:
    if not needs.synchronous:
        raise ConfigError(
            f'{label} is asynchronous, and the kind "{kind}" has other links in each round: what '
            "a schedule promises, such as the exact mean after its last round, holds only if "
            "everybody mixes models of the same round; take a graph that stays, e.g. "
            'kind = "random_regular", or a synchronous algorithm, e.g. "dpsgd"'
        )
    if not needs.scheduled:
        raise ConfigError(
            f'{label} needs the same neighbours in every round, and the kind "{kind}" has others '
            'in each; take a graph that stays, or "dpsgd"'
        )


def _check_signs(topology: Topology, *, label: str) -> None:
    """Mixing models of any age converges where no weight is below 0, own ones included."""
    for node, row in (topology.given or {}).items():
        least = min([weight for _, weight in row], default=0.0)
        own = 1.0 - sum(weight for _, weight in row)
        # Optimal weights are found up to rounding.
        if min(least, own) < -1e-9:  # noqa: PLR2004 - rounding
            raise ConfigError(
                f'{label} is asynchronous, and weights = "{topology.weights}" gives {node} '
                f"{'its own' if own < least else 'a'} weight of {min(least, own):.3g}: weights "
                'below 0 are stable only in lockstep; take "fmmc", which has none, or "metropolis"'
            )


def _label_counts(config: ExperimentConfig, nodes: Sequence[NodeId], folder: Path) -> Array:
    if config.data.kind in {"quadratic", "client"}:
        raise ConfigError(
            'topology: kind = "d_cliques" follows labels, and data.kind '
            f'"{config.data.kind}" shows none; take another'
        )
    from p2pfl.learning.datasets import load_dataset
    from p2pfl.learning.label_counts import deal, label_counts
    from p2pfl.learning.partitions import make_partition

    data, dealt = config.data, config.partition
    dataset = load_dataset(
        data.kind,
        folder=data.folder,
        base=str(folder),
        seed=config.seed,
        min_sequences=data.min_sequences,
    )
    partition = make_partition(
        dealt.kind,
        alpha=dealt.alpha,
        min_partition_size=dealt.min_partition_size,
        shards_per_node=dealt.shards_per_node,
    )
    return label_counts(
        *deal(dataset, partition, nodes=nodes, seed=config.seed, samples=data.samples)
    )


def _latencies_s(config: ExperimentConfig, nodes: Sequence[NodeId]) -> Matrix:
    network, position = config.network, {node: i for i, node in enumerate(nodes)}
    latency_s = np.full((len(nodes), len(nodes)), network.latency_s)
    for link in network.links:
        a, b = (position.get(NodeId(node)) for node in link.between)
        if link.latency_s is not None and a is not None and b is not None:
            latency_s[a, b] = latency_s[b, a] = link.latency_s
    return latency_s
