"""R6: rounds of federated averaging until 97 % on MNIST, as McMahan et al. counted them.

100 clients with 600 images each, dealt at random (IID) or as two shards of the set sorted by its
digits (non-IID); a network with two hidden layers of 200 (2NN, 199,210 numbers) on pixels from 0
to 1; E = 1 epoch in batches of B = 10; a fraction C of the clients in each round (C = 0: one).
A curve crosses the target in the first round that reaches it.

The paper tunes the learning rate of each cell on a fine grid. Here all cells share one, and the
two at C = 0.1 are run at every rate of a small grid as well.

Source: McMahan, Moore, Ramage, Hampson, Arcas, "Communication-efficient learning of deep networks
from decentralized data", AISTATS 2017, table 1 (2NN, E = 1, B = 10).
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from p2pfl.config.load import config_from_mapping
from p2pfl.experiment import SERVER, Experiment
from p2pfl.learning.dataset import Dataset, Scaling
from p2pfl.learning.datasets import load_dataset
from p2pfl.reproduction.target import Chart, Line, Reproduction, Row, Tell
from p2pfl.simulation.simulate import Simulation
from p2pfl.simulation.trace import Trace

COMMON: Final = 0.05
"""The learning rate that all cells share."""
RATES: Final = (0.05, 0.1, 0.2)
WITHIN: Final = 0.5
"""How far a number of rounds may be off: initial weights, batches and the grid differ."""
ROUNDS_MAX: Final = 1000
"""Where a run is given up; more than 1.5 times what any cell here takes in the paper."""


class Cell(NamedTuple):
    """One cell of the paper's table."""

    partition: str
    fraction: float
    """C."""
    paper: int
    """Rounds to the target."""

    @property
    def title(self) -> str:
        """`IID, C = 0.1`."""
        return f"{'IID' if self.partition == 'iid' else 'non-IID'}, C = {self.fraction:g}"


CELLS: Final = (Cell("iid", 0.0, 316), Cell("iid", 0.1, 87), Cell("shard", 0.1, 664))


class Setting(NamedTuple):
    """What is learned, and how well it is to be learned."""

    tables: Mapping[str, Any]
    clients: int
    target: float


FULL: Final = Setting(
    {
        "data": {"kind": f"{__name__}:mnist_from_0_to_1"},
        "model": {"kind": "mlp", "hidden": [200, 200]},
    },
    clients=100,
    target=0.97,
)
QUICK: Final = Setting(
    {"data": "digits", "model": {"kind": "mlp", "hidden": [32]}}, clients=20, target=0.85
)


def mnist_from_0_to_1(folder: str = "") -> Dataset:
    """MNIST with pixels from 0 to 1, as the paper has them.

    Raises:
        DataError: it is nowhere to be found.
    """
    return replace(load_dataset("mnist", folder=folder), scaling=Scaling(1.0 / 255.0, 0.0))


def reproduce(*, quick: bool, tell: Tell) -> Reproduction:
    """Rounds of each cell at the common rate, and of those at C = 0.1 over the grid.

    Quick: twenty clients on the small digits, where only the order of the cells is a law.

    Raises:
        DataError: MNIST is nowhere to be found.
    """
    setting, rates = (QUICK, (0.2,)) if quick else (FULL, RATES)
    common = rates[0] if quick else COMMON
    curves: dict[tuple[Cell, float], list[float]] = {}
    for cell in CELLS:
        for rate in rates if cell.fraction else (common,):
            curves[cell, rate] = curve(setting, cell, rate, tell)
    rounds = {
        (cell, rate): rounds_to(found, setting.target) for (cell, rate), found in curves.items()
    }
    rows = [] if quick else list(_rows_of_the_paper(rounds, rates))
    rows += _orderings({cell: rounds[cell, common] for cell in CELLS})
    chart = Chart(
        title=f"Rounds of FedAvg on {'small digits' if quick else 'MNIST'}, {setting.clients} "
        "clients",
        lines=tuple(
            Line(cell.title, tuple(map(float, range(1, len(y) + 1))), tuple(y))
            for cell, y in ((cell, curves[cell, common]) for cell in CELLS)
        ),
        x_label="rounds",
        y_label="test accuracy of the global model",
        caption=f"E = 1, B = 10, learning rate {common:g}; each curve until {setting.target:.0%}.",
        percent=True,
    )
    return Reproduction(rows=tuple(rows), charts=(chart,), notes=tuple(_notes(rounds, rates)))


def experiment(setting: Setting, cell: Cell, rate: float) -> Experiment:
    """One cell; a client's step takes 10 ms of virtual time, which changes no round."""
    table: dict[str, Any] = {
        "name": "mcmahan",
        "topology": {"kind": "star", "nodes": setting.clients},
        "partition": {"kind": cell.partition},
        "training": {"learning_rate": rate, "batch_size": 10, "local_epochs": 1},
        "algorithm": {"kind": "fedavg", "participation": max(cell.fraction, 1 / setting.clients)},
        "compute": {"step_s": 0.01},
        "network": {"latency_s": 0.01},
        # Nobody dies, and nobody needs to say that he lives.
        "staleness": {"liveness_floor_s": 1e6},
        "stop": {"time_s": 1e9},
        "evaluation": {"every_s": 1e9},
        **setting.tables,
    }
    return Experiment(config_from_mapping(table, source="R6"))


def accuracies(of: Experiment) -> Iterator[float]:
    """The test accuracy of the global model after rounds 1, 2, ..., for ever."""
    trainer = of.make_trainer()
    world = Simulation(of, trainer, Trace()).world
    world.start()
    server = world.inhabitants[SERVER].node
    version = server.version
    while world.step():
        if server.version != version:
            version = server.version
            (score,) = trainer.evaluate([server.public()], [SERVER])
            yield score.accuracy or 0.0


def curve(setting: Setting, cell: Cell, rate: float, tell: Tell) -> list[float]:
    """Accuracies round by round, until the target is reached or the run given up."""
    found: list[float] = []
    for accuracy in accuracies(experiment(setting, cell, rate)):
        found.append(accuracy)
        tell(f"{cell.title}, learning rate {rate:g}: round {len(found)}, {accuracy:.1%}")
        if accuracy >= setting.target or len(found) >= ROUNDS_MAX:
            break
    return found


def rounds_to(found: list[float], target: float) -> float:
    """How many rounds it took; inf if the target was not reached."""
    return float(len(found)) if found[-1] >= target else float("inf")


def _rows_of_the_paper(
    rounds: Mapping[tuple[Cell, float], float], rates: tuple[float, ...]
) -> Iterator[Row]:
    for cell in CELLS:
        what = f"{cell.title}: rounds to 97 % at learning rate {COMMON:g}"
        if not cell.fraction:
            # Tuned or not, a single client is a noisy draw: fewer rounds than the paper's are fine.
            yield Row(
                what=what, must="at most", expected=(1.0 + WITHIN) * cell.paper,
                measured=rounds[cell, COMMON],
                source=f"1.5 times McMahan 2017, table 1: {cell.paper}",
            )  # fmt: skip
            continue
        yield Row(
            what=what, expected=float(cell.paper), measured=rounds[cell, COMMON],
            relative=WITHIN, source="McMahan 2017, table 1",
        )  # fmt: skip
        yield Row(
            what=f"{cell.title}: rounds at the best rate of the grid", must="at most",
            expected=(1.0 + WITHIN) * cell.paper,
            measured=min(rounds[cell, rate] for rate in rates),
            source=f"1.5 times McMahan 2017, table 1: {cell.paper}",
        )  # fmt: skip


def _orderings(rounds: Mapping[Cell, float]) -> list[Row]:
    one, few, shards = (rounds[cell] for cell in CELLS)
    return [
        Row(
            what="one client per round instead of a tenth: rounds, times", must="at least",
            expected=1.0, measured=one / few, source=f"paper: {316 / 87:.1f} times",
        ),
        Row(
            what="non-IID instead of IID: rounds, times", must="at least",
            expected=2.0, measured=shards / few, source=f"paper: {664 / 87:.1f} times",
        ),
    ]  # fmt: skip


def _notes(rounds: Mapping[tuple[Cell, float], float], rates: tuple[float, ...]) -> Iterator[str]:
    for cell in CELLS:
        told = ", ".join(
            f"{rounds[cell, rate]:g} at {rate:g}" for rate in rates if (cell, rate) in rounds
        )
        yield f"{cell.title}: rounds by learning rate: {told}."
