"""One experiment down both paths of the simulator, and in what the results differ."""

from dataclasses import fields

from p2pfl.experiment import Experiment
from p2pfl.results.record import RunResult
from p2pfl.simulation.determined import round_simulation
from p2pfl.simulation.simulate import Simulation
from p2pfl.simulation.trace import Trace


def by_rounds(experiment: Experiment) -> RunResult:
    """The run computed in rounds, which it must allow."""
    simulation = round_simulation(experiment, experiment.make_trainer())
    assert simulation is not None, "it would go event by event"
    return simulation.run()


def by_events(experiment: Experiment) -> RunResult:
    """The run event by event."""
    return Simulation(experiment, experiment.make_trainer(), Trace()).run()


def differences(one: RunResult, other: RunResult) -> list[str]:
    """Every field in which two results are not the same bit for bit, the trace hash apart."""
    found = []
    for field in fields(RunResult):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if field.name in ("served", "public"):
            mine = {name: vector.tobytes() for name, vector in mine.items()}
            theirs = {name: vector.tobytes() for name, vector in theirs.items()}
            if mine != theirs:
                found.append(field.name)
        elif field.name != "trace_hash" and mine != theirs:
            pairs = zip(mine, theirs, strict=False) if isinstance(mine, tuple) else [(mine, theirs)]
            first = next((pair for pair in pairs if pair[0] != pair[1]), "their number")
            found.append(f"{field.name}: {first}")
    return found
