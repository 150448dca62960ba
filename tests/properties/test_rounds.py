"""A run computed in rounds is the run of its events, bit for bit."""

from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st
from support.experiments import quadratic_experiment
from support.same_runs import by_events, by_rounds, differences

from p2pfl.algorithms.rounds import Undecided
from p2pfl.config.schema import StopConfig
from p2pfl.experiment import Experiment

ROUND = (0.25, 0.5, 1.0, 1.25, 2.5, 5.0)
"""Binary fractions, with which many things fall on one moment."""

KINDS = (*["dpsgd"] * 5, "dsgdm", "qg_dsgdm", "gradient_tracking", "d2", "sgp")


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["ring", "path", "star", "complete", "random_regular"]))
    if kind == "random_regular":
        return {"kind": kind, "nodes": draw(st.sampled_from([4, 6, 8])), "degree": 3}
    return {"kind": kind, "nodes": draw(st.integers(3 if kind == "ring" else 2, 9))}


@st.composite
def experiments(draw: st.DrawFn) -> Experiment:
    graph, kind = draw(graphs()), draw(st.sampled_from(KINDS))
    nodes = [f"n{i}" for i in range(graph["nodes"])]
    falls_together = draw(st.booleans())
    seconds = st.sampled_from(ROUND) if falls_together else st.floats(0.1, 5.0)
    step_s, steps = draw(seconds), draw(st.integers(1, 3))
    factors = st.sampled_from([0.5, 2.0, 3.0, 4.0]) if falls_together else st.floats(0.3, 5.0)
    compute: dict[str, Any] = {
        "step_s": step_s,
        "slowdown": draw(st.dictionaries(st.sampled_from(nodes), factors, max_size=4)),
        "distribution": draw(st.sampled_from(["constant", "lognormal", "pareto"])),
        "node_sigma": draw(st.sampled_from([0.0, 0.5])),
    }
    if compute["distribution"] == "lognormal":
        compute["sigma"] = draw(st.floats(0.0, 1.5))
    if compute["distribution"] == "pareto":
        compute["alpha"] = draw(st.floats(1.2, 3.0))
    latencies = st.one_of(st.just(0.0), seconds.map(lambda s: s / 4))
    network: dict[str, Any] = {
        "latency": "constant",
        "latency_s": draw(latencies),
        "codec": draw(st.sampled_from(["float32", "bfloat16", "float16"]))
        if kind == "dpsgd"
        else "float32",
    }
    if graph["kind"] in ("ring", "path"):
        network["links"] = [
            {"between": [f"n{i}", f"n{i + 1}"], "latency_s": draw(latencies)}
            for i in range(draw(st.integers(0, graph["nodes"] - 1)))
        ]
    time_s = step_s * steps * draw(st.integers(2, 24)) * draw(st.sampled_from([1.0, 0.97]))
    stop = draw(
        st.builds(StopConfig, steps=st.integers(1, 25), time_s=st.sampled_from([None, time_s]))
        | st.just(StopConfig(time_s=time_s))
    )
    return quadratic_experiment(
        nodes=len(nodes),
        slow=0,
        topology=graph,
        compute=compute,
        network=network,
        evaluation={"every_s": max(draw(seconds), time_s / 40)},
        training={
            "local_steps": steps,
            "momentum": draw(st.sampled_from([0.0, 0.9])) if kind == "dpsgd" else 0.0,
            "weights": draw(st.dictionaries(st.sampled_from(nodes), st.just(2.0), max_size=2)),
        },
        data={"sites": [-1.0, 1.0], "noise": draw(st.sampled_from([0.0, 0.3]))},
        staleness={"liveness_floor_s": draw(st.sampled_from([2.0, 5.0, 7.3, 20.0]))},
        algorithm={"kind": kind},
        seed=draw(st.integers(0, 1000)),
    ).replace(stop=stop)


@given(experiment=experiments())
@settings(max_examples=60, deadline=None)
def test_unless_undecided_both_paths_give_the_same_result_bit_for_bit(
    experiment: Experiment,
) -> None:
    try:
        found = by_rounds(experiment)
    except Undecided:
        event("undecided")
        return
    assert differences(found, by_events(experiment)) == []
