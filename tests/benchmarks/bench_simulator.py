"""Node-steps per second of the simulator: python tests/benchmarks/bench_simulator.py [--quick].

One node-step is one minibatch of 16 at one node, with its share of mixing, messages and
bookkeeping: random 4-regular graph, lognormal speeds of sigma 0.5. Every case runs in a process of
its own with one thread, so that its memory is its own. The plain loops over nodes, without any
simulator around them, are measured in the same run. Rates are per CPU second: on an idle machine
the same as by the clock.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from apart import FailedError, measure_apart, this_script
from cases import (
    HIDDEN,
    LOOP_NODES,
    Case,
    loop_trainer,
    measure,
    measure_experiment,
    profile,
    torch_loop,
)
from results import ROOT, Column, Table, Value, conditions, keep

from p2pfl.config.schema import EvaluationConfig
from p2pfl.experiment import load_experiment

TIMEOUT_S: Final = 1800.0
CASES: Final = (
    *(
        Case(nodes=nodes, steps=steps, local_steps=local_steps)
        for local_steps, counts in ((1, (2000, 400, 100, 20)), (5, (5000, 1000, 200, 50)))
        for nodes, steps in zip((10, 100, 1000, 10_000), counts, strict=True)
    ),
    Case(nodes=1000, steps=100, fast=True),
    Case(kind="dpsgd", nodes=1000, steps=100),
    Case(kind="dpsgd", nodes=1000, steps=200, local_steps=5),
    Case(kind="fedavg", nodes=1000, steps=40),
    *(
        Case(nodes=nodes, steps=steps * local_steps, local_steps=local_steps, model="50 k")
        for local_steps in (1, 5)
        for nodes, steps in ((10, 200), (100, 30), (1000, 5))
    ),
    *(
        Case(nodes=nodes, steps=steps * local_steps, local_steps=local_steps, model="1 M")
        for local_steps in (1, 5)
        for nodes, steps in ((10, 30), (100, 5))
    ),
)
IN_SHORT: Final = (
    Case(nodes=10, steps=2000),
    Case(nodes=100, steps=400),
    Case(nodes=1000, steps=100),
    Case(nodes=1000, steps=100, fast=True),
    Case(nodes=1000, steps=200, local_steps=5),
    Case(nodes=10_000, steps=20),
    Case(kind="dpsgd", nodes=1000, steps=100),
    Case(nodes=100, steps=5, model="1 M"),
)
"""What the README shows."""
QUICK: Final = (Case(nodes=100, steps=200), Case(kind="dpsgd", nodes=1000, steps=40))
PROFILED: Final = (
    Case(nodes=1000, steps=40),
    Case(kind="dpsgd", nodes=1000, steps=40),
    Case(nodes=1000, steps=100, local_steps=5),
    Case(nodes=100, steps=30, model="50 k"),
    Case(nodes=100, steps=5, model="1 M"),
)
CNN: Final = ROOT / "examples" / "mnist-200.toml"
NO_EVALUATION: Final = EvaluationConfig(every_s=1e6, samples=1)
CNN_TITLE: Final = "PullMix, n = 200, CNN of McMahan et al. (1.66 M) on MNIST"

LOOPS: Final = (
    Column("model", "parameters"),
    Column("torch", "torch loop"),
    Column("trainer", "plain trainer"),
    Column("trainer_5", "plain trainer, H = 5"),
)
RATES: Final = (
    Column("title", "simulation"),
    Column("rate", "node-steps/s"),
    Column("times_torch", "x torch loop", ",.1f"),
    Column("times_trainer", "x plain trainer", ",.1f"),
    Column("width", "width"),
    Column("memory_mib", "MiB"),
    Column("start_s", "start s", ",.1f"),
    Column("run_s", "run s", ",.1f"),
)
WHERE: Final = (
    Column("title", "microseconds per node-step"),
    Column("training", "training", ",.0f"),
    Column("mixing", "mixing", ",.0f"),
    Column("events", "events", ",.0f"),
)


def apart(*words: str) -> dict[str, float]:
    """The answer of this script, started anew with these words."""
    return measure_apart(this_script(*words), timeout_s=TIMEOUT_S)


def measure_loops(models: list[str]) -> Table:
    """The rates of the plain loops."""
    table = Table("loops", LOOPS)
    table.open()
    for model in models:
        table.add(
            {
                "model": model,
                "torch": apart("--torch-loop", model)["rate"],
                "trainer": apart("--loop-trainer", model, "1")["rate"],
                "trainer_5": apart("--loop-trainer", model, "5")["rate"],
            }
        )
    return table


def measure_cases(cases: Sequence[Case], loops: Table) -> Table:
    """The rates of the simulator, and how many times those of the loops."""
    rates = {row["model"]: row for row in loops.rows}
    table = Table("simulator", RATES)
    table.open()
    for case in cases:
        found = apart("--case", json.dumps(asdict(case)))
        loop = rates[case.model]
        trainer = loop["trainer" if case.local_steps == 1 else "trainer_5"]
        table.add({**found, "title": case.title, **times(found["rate"], loop["torch"], trainer)})
    return table


def measure_cnn(table: Table) -> None:
    """One more row, if MNIST is on this machine."""
    try:
        found, loop = apart("--cnn", "simulation"), apart("--cnn", "loop")
    except FailedError as error:
        table.note(f"{CNN_TITLE} is left out: {error}")
    else:
        table.add({**found, "title": CNN_TITLE, **times(found["rate"], None, loop["rate"])})


def times(rate: float, torch: Value, trainer: Value) -> dict[str, Value]:
    """How many times the loops' rates this is."""
    return {
        "times_torch": rate / torch if isinstance(torch, float) else None,
        "times_trainer": rate / trainer if isinstance(trainer, float) else None,
    }


def measure_parts(cases: Sequence[Case]) -> Table:
    """Where the time of a node-step goes."""
    table = Table("parts", WHERE)
    table.open()
    for case in cases:
        table.add({"title": case.title, **apart("--profile", json.dumps(asdict(case)))})
    return table


def answer(arguments: argparse.Namespace) -> dict[str, float] | None:
    """What this process is to measure; None: it is the one that asks."""
    if arguments.case:
        return measure(Case(**json.loads(arguments.case)))
    if arguments.profile:
        return profile(Case(**json.loads(arguments.profile)))
    if arguments.torch_loop:
        return torch_loop(arguments.torch_loop)
    if arguments.loop_trainer:
        model, local_steps = arguments.loop_trainer
        case = Case(nodes=LOOP_NODES, model=model, local_steps=int(local_steps), steps=1)
        return loop_trainer(case.experiment())
    if arguments.cnn:
        experiment = load_experiment(CNN).replace(evaluation=NO_EVALUATION)
        alone = arguments.cnn == "loop"
        return loop_trainer(experiment, nodes=4) if alone else measure_experiment(experiment)
    return None


def main() -> None:
    """Print and keep the tables, or (for this script itself) answer one question as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two cases only")
    for question in ("--case", "--profile", "--torch-loop", "--cnn"):
        parser.add_argument(question, help=argparse.SUPPRESS)
    parser.add_argument("--loop-trainer", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    found = answer(arguments)
    if found is not None:
        print(json.dumps(found))
        return
    here, quick = conditions(), arguments.quick
    loops = measure_loops(["2 k"] if quick else list(HIDDEN))
    keep(loops, conditions=here)
    rates = measure_cases(QUICK if quick else CASES, loops)
    if not quick:
        measure_cnn(rates)
    keep(rates, conditions=here)
    titles = {case.title for case in IN_SHORT} | {CNN_TITLE}
    short = Table("simulator in short", RATES[:-2])
    short.rows.extend(row for row in rates.rows if row["title"] in titles)
    if not quick:
        keep(short, conditions=here)
    keep(measure_parts(PROFILED[:1] if quick else PROFILED), conditions=here)


if __name__ == "__main__":
    main()
