"""What a message costs a star's server: python tests/benchmarks/bench_servers.py [--quick].

Quadratics of ten numbers, so that arithmetic on models costs next to nothing: CPU time of the
server's own state machine per event, with ten, a hundred and a thousand clients.
"""

import sys
from time import thread_time
from typing import Any, Final

from results import Column, Table, conditions, keep

from p2pfl.config.load import config_from_mapping
from p2pfl.experiment import SERVER, Experiment
from p2pfl.messages import Effect, Event
from p2pfl.protocol.node import Node
from p2pfl.simulation.simulate import Simulation
from p2pfl.simulation.trace import Trace

CLIENTS: Final = (10, 100, 1000)
UPDATES: Final = 10_000
"""Client updates of each run, about."""

KINDS: Final[dict[str, dict[str, Any]]] = {
    "FedAvg, everybody": {"kind": "fedavg"},
    "FedAvg, a tenth": {"kind": "fedavg", "participation": 0.1},
    "SCAFFOLD, everybody": {"kind": "scaffold"},
    "FedAsync": {"kind": "fedasync"},
    "FedBuff": {"kind": "fedbuff"},
}


def server_us(algorithm: dict[str, Any], clients: int, updates: int) -> float:
    """CPU microseconds of the server per event."""
    table = {
        "name": "servers",
        "topology": {"kind": "star", "nodes": clients},
        "data": {"kind": "quadratic", "dimension": 10},
        "model": "quadratic",
        "training": {"learning_rate": 0.05, "local_steps": 1},
        "algorithm": algorithm,
        "compute": {"step_s": 0.5},
        "network": {"latency_s": 0.05},
        "stop": {"steps": max(1, updates // clients)},
        "evaluation": {"every_s": 1e9},
    }
    experiment = Experiment(config_from_mapping(table, source="bench"))
    simulation = Simulation(experiment, experiment.make_trainer(), Trace())
    server = simulation.world.inhabitants[SERVER].node
    spent, events = 0.0, 0
    handle = server.handle

    def counted(event: Event, now: float) -> list[Effect]:
        nonlocal spent, events
        since = thread_time()
        effects = handle(event, now)
        spent += thread_time() - since
        events += 1
        return effects

    _replace_handle(server, counted)
    simulation.run()
    return 1e6 * spent / events


def _replace_handle(node: Node, handle: Any) -> None:  # noqa: ANN401 - a method for a method
    node.handle = handle  # type: ignore[method-assign] # that is what measuring it means


def main() -> None:
    """Print and keep the table."""
    quick = "--quick" in sys.argv
    table = Table(
        "servers: CPU time per event",
        [Column("kind", "CPU µs per event, clients:")]
        + [Column(str(n), f"{n:,}", ".1f") for n in CLIENTS],
    )
    table.open()
    for title, algorithm in KINDS.items():
        row: dict[str, float | str] = {"kind": title}
        for clients in CLIENTS:
            row[str(clients)] = server_us(algorithm, clients, UPDATES // (10 if quick else 1))
        table.add(row)
    keep(table, conditions=conditions())


if __name__ == "__main__":
    main()
