"""`p2pfl simulate FILE`: one experiment in virtual time, and the folder that it leaves.

`p2pfl simulate --replay runs/X`: a recorded real run once more, and whether it came out the same.
"""

import argparse
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from p2pfl.cli.arguments import add_experiment_arguments, add_folder_argument, read_experiment
from p2pfl.cli.say import say
from p2pfl.cli.shown import (
    profile_lines,
    progress_shown,
    summary_lines,
    tell_note,
)
from p2pfl.cli.watched import tell_result
from p2pfl.exit_codes import ExitCode

if TYPE_CHECKING:
    from p2pfl.simulation.replay import Replay

TRACE: Final = "trace.jsonl"
REPLAY_TRACE: Final = "replay.jsonl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds FILE, --set, --seed, --out, --trace, --profile and --replay."""
    add_experiment_arguments(parser, needs_file=False)
    add_folder_argument(parser)
    parser.add_argument("--trace", action="store_true", help=f"write {TRACE}, a line per event")
    parser.add_argument("--profile", action="store_true", help="tell where the time went")
    parser.add_argument(
        "--replay",
        type=Path,
        metavar="DIR",
        help="repeat the real run that was recorded there, instead of FILE",
    )


def run(arguments: argparse.Namespace) -> int:
    """Simulates, writes the run's folder with its report, and returns the exit code.

    Raises:
        ConfigError: the file or a setting is wrong.
        DataError: the data is missing or torn.
    """
    from p2pfl.errors import ConfigError

    if arguments.replay is not None:
        if arguments.file is not None or arguments.set or arguments.seed is not None:
            raise ConfigError(
                "--replay repeats what was recorded: leave FILE, --set and --seed out"
            )
        if arguments.profile:
            raise ConfigError("--profile tells of a simulation; leave it out with --replay")
        return _replay(arguments.replay, trace=arguments.trace)
    if arguments.file is None:
        raise ConfigError("simulate what? give FILE, or --replay DIR")
    return _simulate(arguments)


def _simulate(arguments: argparse.Namespace) -> int:
    from p2pfl.simulation.profile import Profile

    profile = Profile(time.perf_counter) if arguments.profile else None
    from p2pfl.report.page import write_report
    from p2pfl.results.folder import REPORT, new_run_folder, write_run
    from p2pfl.simulation.simulate import simulate

    experiment = read_experiment(arguments)
    trainer = experiment.make_trainer()
    for note in trainer.notes:
        tell_note(note)
    folder = new_run_folder(arguments.out, experiment.config.name)
    began_s = time.perf_counter()
    with progress_shown() as tell:
        result = simulate(
            experiment,
            trainer=trainer,
            trace_file=folder / TRACE if arguments.trace else None,
            progress=lambda sample: tell(
                experiment.label,
                experiment.share_done(at_s=sample.at_s, steps=sample.steps),
                sample,
            ),
            profile=profile,
        )
    result = replace(result, wall_s=time.perf_counter() - began_s)
    with nullcontext() if profile is None else profile.during("writing"):
        write_run(result, folder, layout=getattr(trainer, "layout", ()))
        report = write_report([result], folder / REPORT)
    lines = [*summary_lines(result, told=trainer.notes), f"report      {report}"]
    if profile is not None:
        lines += ["", *profile_lines(profile.seconds, steps=result.final.steps)]
    tell_result(result, "\n".join(lines), folder=folder, report=report)
    return 0


def _replay(folder: Path, *, trace: bool) -> int:
    from p2pfl.simulation.replay import Replay
    from p2pfl.simulation.trace import Trace

    lines = (folder / REPLAY_TRACE).open("w", encoding="utf-8") if trace else nullcontext()
    with lines as file:
        replay = Replay(folder, trace=None if file is None else Trace(file))
        began_s = time.perf_counter()
        replay.run()
        took_s = time.perf_counter() - began_s
    models, same = _compare_models(replay, folder)
    told = [*_replay_lines(replay, took_s=took_s), *models]
    verified = replay.verified
    well = same and not (verified.decision or verified.first_vector)
    say("replay", "\n".join(told), same=well, lines=told)
    return ExitCode.DONE if well else ExitCode.DIFFERS


def _replay_lines(replay: "Replay", *, took_s: float) -> list[str]:
    from p2pfl.comparison.units import number_text
    from p2pfl.results.history import made_with

    experiment, verified = replay.experiment, replay.verified
    name, seed = experiment.config.name, experiment.config.seed
    spanned, took = number_text(verified.since_s), number_text(took_s)
    lines = [
        f"{name}: {experiment.label}, seed {seed}, a recorded run repeated",
        f"lives       {len(replay.lives)}, of {len(replay.nodes)} nodes",
        f"events      {verified.events} of {spanned} real seconds (in {took} s)",
    ]
    if verified.decision is None:
        lines.append(f"decisions   {verified.decisions}, all as recorded")
    else:
        lines.append(f"decisions   {verified.decisions} as recorded, then another")
        lines.append(f"  {verified.decision}")
    if verified.first_vector is None:
        return [*lines, f"vectors     {verified.vectors}, all as recorded, bit for bit"]
    lines.append(f"vectors     {verified.vectors_differ} of {verified.vectors} differ; the first:")
    lines.append(f"  {verified.first_vector}")
    was, now = replay.lives[0].head.made_with, made_with()
    others = [f"{key} {was.get(key)}, here {now[key]}" for key in now if now[key] != was.get(key)]
    return lines + [f"  recorded with {'; '.join(others)}"] * bool(others)


def _compare_models(replay: "Replay", folder: Path) -> tuple[list[str], bool]:
    """How far the final models are from the run's saved ones; False if any differ."""
    from p2pfl.results.folder import SUMMARY, read_run

    if not (folder / SUMMARY).exists():
        return [
            f"models      {len(replay.served)} final ones; {folder} holds none to compare"
        ], True
    saved = read_run(folder).served
    missing = sorted(set(saved) - set(replay.served))
    if missing:
        return [f"models      the replay has no final model of {', '.join(missing)}"], False
    distances = {
        node: float(abs(replay.served[node] - vector).max()) for node, vector in saved.items()
    }
    equal = all((replay.served[node] == vector).all() for node, vector in saved.items())
    if equal:
        return [f"models      {len(saved)} final ones, bit-equal to the saved ones"], True
    node = max(distances, key=lambda node: distances[node])
    return [f"models      differ by at most {distances[node]:.3g} ({node})"], False
