"""A node's numbers in the words of Prometheus: read when a scrape comes."""

import math
import time
from collections.abc import Iterable, Iterator
from importlib import metadata
from typing import Final

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
    StateSetMetricFamily,
)
from prometheus_client.registry import Collector

from p2pfl.protocol.phase import Phase
from p2pfl.runtime.health import STARTING, Health, NeighbourHealth, Organs

GAP_BUCKETS_S: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


class Metrics:
    """The page that Prometheus reads."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._registry = CollectorRegistry()
        self._registry.register(_NodeCollector(health))
        ProcessCollector(registry=self._registry)
        self._gaps = Histogram(
            "p2pfl_event_loop_gap_seconds",
            "By how much the event loop came too late for a timer, four times a second",
            buckets=GAP_BUCKETS_S,
            registry=self._registry,
        )

    def page(self, accept: str) -> tuple[bytes, str]:
        """The page and its content type, in the format that the scraper accepts."""
        gaps_s, self._health.gaps_s = self._health.gaps_s, []
        for gap_s in gaps_s:
            self._gaps.observe(gap_s)
        encoder, content_type = choose_encoder(accept)
        return encoder(self._registry), content_type


class _NodeCollector(Collector):
    """Everything of the node itself; counters begin anew with each life, as Prometheus expects."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand: what there is depends on the node."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every family that there is now."""
        health = self._health
        phases = dict.fromkeys([STARTING, *(phase.value for phase in Phase)], False)
        yield StateSetMetricFamily(
            "p2pfl_phase", "Where the node is in its life", value=phases | {health.phase: True}
        )
        yield _gauge("p2pfl_ready", "1 while the node is in its run and connected", health.ready)
        organs = health.organs
        if organs is None:
            return
        yield _info(organs)
        yield from _work(health, organs)
        yield from _staleness(organs)
        yield from _traffic(organs)
        yield from _neighbours(health.neighbours())
        refused = CounterMetricFamily(
            "p2pfl_frames_refused", "Frames that were dropped", labels=["peer", "reason"]
        )
        for (peer, reason), count in sorted(health.refused().items()):
            refused.add_metric([peer, reason], count)
        yield refused


def _info(organs: Organs) -> Metric:
    settings = organs.machine.settings
    value = {
        "node": str(settings.node),
        "run": settings.run,
        "digest": settings.digest,
        "version": metadata.version("p2pfl-gossip"),
    }
    return InfoMetricFamily("p2pfl_node", "Which node of which run this is", value=value)


def _work(health: Health, organs: Organs) -> Iterator[Metric]:
    machine, tally, worker = organs.machine, organs.tally, organs.worker
    yield _gauge("p2pfl_version", "The node's version", machine.version)
    yield _counter("p2pfl_versions", "Local updates that were done", tally.versions)
    yield _counter("p2pfl_gradient_steps", "Gradient steps that were done", tally.steps)
    yield _counter("p2pfl_samples", "Samples processed: steps times batch size", tally.samples)
    if not math.isnan(worker.loss):
        yield _gauge("p2pfl_training_loss", "Mean loss of the last local update", worker.loss)
    age_s = health.update_age_s()
    if age_s is not None:
        yield _gauge(
            "p2pfl_last_update_timestamp_seconds",
            "When the last local update was done, since the epoch",
            time.time() - age_s,
        )
    sample = health.sample
    if sample is not None and not math.isnan(sample.loss):
        yield _gauge("p2pfl_evaluation_loss", "Loss of the served model", sample.loss)
    if sample is not None and sample.accuracy is not None:
        yield _gauge("p2pfl_evaluation_accuracy", "Accuracy of the served model", sample.accuracy)
    waiting = GaugeMetricFamily(
        "p2pfl_waiting_for", "1 for each neighbour that the node waits for", labels=["peer"]
    )
    for peer in health.waiting_for():
        waiting.add_metric([peer], 1.0)
    yield waiting


def _staleness(organs: Organs) -> Iterator[Metric]:
    tally, limit = organs.tally, organs.machine.settings.policy.limit
    yield _counter("p2pfl_mixes", "Mixes with neighbours' models", tally.mixes)
    yield _counter("p2pfl_models_left_out", "Held models that were too old to mix", tally.left_out)
    yield _gauge("p2pfl_mix_staleness", "Of the last mix, in the bound's unit", tally.staleness)
    yield _gauge("p2pfl_mix_staleness_max", "The largest ever mixed", tally.staleness_max)
    yield _gauge("p2pfl_mix_staleness_bound", "What may be mixed at most (+Inf: all)", limit)


def _traffic(organs: Organs) -> Iterator[Metric]:
    traffic, link = organs.transport.traffic, organs.transport.link_state
    yield _counter("p2pfl_sent_bytes", "Frames and part headers out", traffic.out_bytes)
    yield _counter("p2pfl_received_bytes", "Frames and part headers in", traffic.in_bytes)
    yield _counter("p2pfl_sent_messages", "Messages out", traffic.out_messages)
    yield _counter("p2pfl_received_messages", "Messages in", traffic.in_messages)
    yield _counter("p2pfl_superseded", "Models never sent: a newer came first", traffic.superseded)
    yield _gauge("p2pfl_broker_connected", "1 while connected to the broker", link.connected)
    yield _counter("p2pfl_broker_reconnects", "Connections made anew", link.reconnects)
    depth = GaugeMetricFamily("p2pfl_queue_depth", "Messages that wait", labels=["queue"])
    depth.add_metric(["unsent"], link.unsent)
    depth.add_metric(["unread"], link.unread)
    yield depth


def _neighbours(neighbours: list[NeighbourHealth]) -> Iterator[Metric]:
    label = ["peer"]
    live = GaugeMetricFamily("p2pfl_neighbour_live", "1 while it counts as alive", labels=label)
    version = GaugeMetricFamily("p2pfl_neighbour_version", "The newest told of", labels=label)
    age = GaugeMetricFamily(
        "p2pfl_neighbour_age_seconds", "Age of its newest model (+Inf: none)", labels=label
    )
    missed = GaugeMetricFamily(
        "p2pfl_neighbour_missed_periods", "That age in its own publish periods", labels=label
    )
    for peer in neighbours:
        live.add_metric([peer.node], float(peer.live))
        version.add_metric([peer.node], peer.version)
        age.add_metric([peer.node], peer.age_s)
        missed.add_metric([peer.node], peer.missed)
    yield from (live, version, age, missed)


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(name, what, value=float(value))


def _counter(name: str, what: str, value: float) -> Metric:
    return CounterMetricFamily(name, what, value=float(value))
