"""What a node's life adds up to so far, as the report that it makes of itself."""

import math

from p2pfl.protocol.node import Node
from p2pfl.results.record import NodeSample, NodeTotals
from p2pfl.results.tally import Tally
from p2pfl.runtime.rows import Report
from p2pfl.transport.base import Traffic


class _Counted:
    """A transport's counts as the results name them."""

    def __init__(self, traffic: Traffic) -> None:
        self.out_bytes = traffic.out_bytes
        self.in_bytes = traffic.in_bytes
        self.fan_out_bytes = traffic.fan_out_bytes
        self.control_bytes = traffic.control_out_bytes + traffic.control_in_bytes
        self.out_messages = traffic.out_messages
        self.in_messages = traffic.in_messages


def totals_of(machine: Node, tally: Tally, traffic: Traffic) -> NodeTotals:
    """The node's totals; what machine and transport have refused is counted together."""
    refused = machine.refused + traffic.refused
    return tally.totals(
        _Counted(traffic),
        {f"{peer}: {why}": n for (peer, why), n in sorted(refused.items())},
        superseded=traffic.superseded,
        way_s=traffic.way_s,
    )


def report_of(machine: Node, tally: Tally, traffic: Traffic, *, at_s: float, life: int) -> Report:
    """The node at `at_s` seconds since the go, not scored; `life` counts its incarnations."""
    sample = NodeSample(
        at_s=at_s,
        node=tally.node,
        version=tally.versions,
        steps=tally.steps,
        loss=math.nan,
        accuracy=None,
        per_class=(),
        staleness_max=tally.staleness_max,
        out_bytes=traffic.out_bytes,
        in_bytes=traffic.in_bytes,
    )
    return Report(
        sample=sample,
        totals=totals_of(machine, tally, traffic),
        phase=machine.phase.value,
        life=life,
        eval_s=0.0,
    )
