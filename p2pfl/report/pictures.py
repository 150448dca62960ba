"""Which pictures a report shows, and the sentence under each: what it is, what to look for."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Final

from p2pfl.comparison.curves import Axis
from p2pfl.comparison.slow import slow_nodes
from p2pfl.comparison.table import ComparisonTable
from p2pfl.comparison.titles import Group
from p2pfl.comparison.units import bytes_text, count_text, number_text
from p2pfl.report.canvas import SERIES
from p2pfl.report.charts import (
    MAX_BARS,
    against_chart,
    bytes_chart,
    class_chart,
    distance_chart,
    quality_chart,
    staleness_chart,
    staleness_shares,
    traffic_chart,
)
from p2pfl.report.graph import run_graph
from p2pfl.report.series import class_accuracy, mean_curve, quality_curve, slow_class_curve
from p2pfl.results.record import RunResult

_MAX_CLASSES: Final = 40
"""More classes than this are lines no eye tells apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One figure of the page; `legend` pairs words with the index of a colour."""

    title: str
    svg: str
    caption: str
    legend: tuple[tuple[str, int], ...] = ()
    kind: str = "chart"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What all pictures of one page share."""

    groups: tuple[Group, ...]
    table: ComparisonTable

    @property
    def tints(self) -> Mapping[str, int]:
        """Each row's colour, the same in every picture."""
        return {group.title: index for index, group in enumerate(self.groups)}

    @property
    def legend(self) -> tuple[tuple[str, int], ...]:
        """All rows with their colours; a single row needs none."""
        return tuple(self.tints.items()) if len(self.groups) > 1 else ()

    @property
    def unit(self) -> str:
        """What the time axis counts."""
        drivers = {run.driver for group in self.groups for run in group.runs}
        return "virtual seconds" if drivers == {"simulation"} else "seconds"

    @property
    def alone(self) -> RunResult | None:
        """The one run of the page, if it is one."""
        runs = [run for group in self.groups for run in group.runs]
        return runs[0] if len(runs) == 1 else None


def pictures(scene: Scene) -> list[Picture]:
    """All pictures that these runs have data for, most telling first."""
    made = [_quality(scene), _slow_classes(scene), _graph(scene), _classes(scene)]
    made += [_staleness(scene), _traffic(scene)]
    if len(scene.groups) > 1:
        axes: tuple[Axis, ...] = ("work", "node_bytes", "busiest_bytes")
        made += [_against(scene, axis) for axis in axes]
    made += [_loss(scene), _consensus(scene)]
    return [picture for picture in made if picture is not None]


def _quality(scene: Scene) -> Picture:
    measure = scene.table.levels.measure
    curves = [quality_curve(g, i, measure) for i, g in enumerate(scene.groups)]
    return Picture(
        title=f"{measure.capitalize()} over time",
        svg=quality_chart(
            curves, measure=measure, unit=scene.unit, about=f"{measure} over {scene.unit}"
        ),
        caption=f"The line is the mean over nodes of the {measure} of the models they serve; the"
        " band reaches from the worst node (dashed) to the best. Look for a worst node that stays"
        " near the mean: then no node is left behind.",
        legend=scene.legend,
    )


def _slow_classes(scene: Scene) -> Picture | None:
    runs = [run for group in scene.groups for run in group.runs]
    curves = [
        curve
        for index, group in enumerate(scene.groups)
        if (curve := slow_class_curve(group, index, runs)) is not None
    ]
    if not curves:
        return None
    return Picture(
        title="Accuracy on the slow nodes' classes",
        svg=against_chart(
            curves,
            measure="accuracy",
            label=scene.unit,
            form=count_text,
            about="accuracy on the slow nodes' classes over time",
        ),
        caption="The mean over all nodes, fast ones too, on the classes of which slow nodes hold"
        " most samples. A line that stays low is a network that does not listen to them.",
        legend=scene.legend,
    )


def _graph(scene: Scene) -> Picture | None:
    """The graph of the first row that has one, without a server if possible."""
    runs = [group.runs[0] for group in scene.groups if group.runs[0].edges]
    runs.sort(key=lambda run: len(run.learners) != len(run.nodes))
    if not runs:
        return None
    run, slow = runs[0], slow_nodes(runs[0])
    svg = run_graph(run, slow)
    if svg is None:
        return None
    words = "Each line is a link over which two nodes exchange models."
    if slow:
        words += f" {_number(len(slow))} slow: their data must count as much as all others'."
    return Picture(
        title=f"Who talks to whom ({len(run.learners)} nodes)",
        svg=svg,
        caption=words,
        kind="graph",
    )


def _classes(scene: Scene) -> Picture | None:
    rows = [
        (group.title, index, values)
        for index, group in enumerate(scene.groups)
        if (values := class_accuracy(group)) is not None and len(values) <= _MAX_CLASSES
    ]
    if not rows:
        return None
    return Picture(
        title="Accuracy per class",
        svg=class_chart(rows, about="accuracy per class at the end"),
        caption="One dot is the accuracy on one class at the end, mean over nodes. Look for a dot"
        " far to the left of the others: data of that class was forgotten, most often because the"
        " nodes that hold it are slow.",
        legend=scene.legend,
    )


def _staleness(scene: Scene) -> Picture | None:
    alone = scene.alone
    if alone is not None:
        if not any(node.mixes for node in alone.nodes):
            return None
        slow = slow_nodes(alone) & {node.node for node in alone.nodes if node.mixes}
        bounded = alone.staleness_bound != float("inf")
        of = (
            f"{number_text(alone.staleness_bound)} {alone.staleness_unit}"
            if bounded
            else f"no bound ({alone.staleness_unit})"
        )
        return Picture(
            title="Staleness",
            svg=staleness_chart(alone, slow, about="largest staleness mixed, per node"),
            caption=f"Largest staleness ever mixed: {number_text(alone.staleness_max)} of {of}."
            + (f" No bar may cross the dashed line: {_kept_by(alone)}." if bounded else ""),
            legend=(("as fast as most", 0), ("slow", 1))
            if slow and len(alone.nodes) <= MAX_BARS
            else (),
        )
    if not any(s.mixes for row in scene.table.rows for s in row.summaries):
        return None
    return Picture(
        title="Staleness",
        svg=staleness_shares(
            scene.table, scene.tints, about="largest staleness as a share of the bound"
        ),
        caption="The largest staleness that any node ever mixed, as a share of the bound that the"
        " run was held to. No bar may cross the dashed line.",
    )


def _traffic(scene: Scene) -> Picture | None:
    alone = scene.alone
    if alone is not None:
        if not alone.edges:
            return None
        busiest = alone.busiest
        most = bytes_text(busiest.out_bytes + busiest.in_bytes)
        many = len(alone.nodes) > MAX_BARS
        parts = "Received and sent." if many else "Received (pale) and sent (strong)."
        return Picture(
            title="Bytes at every endpoint",
            svg=bytes_chart(alone, about="bytes in and out per endpoint"),
            caption=f"{parts} A model is sent once and the broker fans it"
            f" out. The busiest endpoint is {busiest.node} with {most}: look for one bar that"
            " stands out, a bottleneck.",
        )
    if not any(s.sends_models for row in scene.table.rows for s in row.summaries):
        return None
    return Picture(
        title="Bytes",
        svg=traffic_chart(scene.table, scene.tints, about="bytes per node and at the busiest"),
        caption="From strong to pale: bytes in and out per node, at the busiest endpoint, and there"
        " if every receiver were sent its own copy (unicast). A long second bar is a bottleneck.",
    )


_SPENT: Final[Mapping[Axis, tuple[str, str]]] = {
    "work": ("work", "gradient steps of all nodes"),
    "node_bytes": ("bytes per node", "bytes per node"),
    "busiest_bytes": ("bytes at the busiest", "bytes at the busiest endpoint"),
}


def _against(scene: Scene, axis: Axis) -> Picture | None:
    measure = scene.table.levels.measure
    curves = [
        curve
        for index, group in enumerate(scene.groups)
        if (axis == "work" or any(run.edges for run in group.runs))
        and (curve := mean_curve(group, index, axis=axis, measure=measure)) is not None
        and len(curve.at) > 1
        and curve.at[-1] > 0
    ]
    if not curves:
        return None
    work, (what, spent) = axis == "work", _SPENT[axis]
    return Picture(
        title=f"{measure.capitalize()} for the same {what}",
        svg=against_chart(
            curves,
            measure=measure,
            label=spent,
            form=count_text if work else bytes_text,
            about=f"{measure} against {spent}",
        ),
        caption=f"The same curves against {spent}. At one place on the axis all have spent the"
        " same: higher is more for the price."
        if measure == "accuracy"
        else f"The same curves against {spent}: lower is more for the price.",
        legend=tuple((curve.title, curve.colour) for curve in curves),
    )


def _loss(scene: Scene) -> Picture | None:
    """Where accuracy is what counts, the loss as well."""
    if scene.table.levels.measure == "loss":
        return None
    curves = [
        curve
        for index, group in enumerate(scene.groups)
        if (curve := mean_curve(group, index, axis="seconds", measure="loss")) is not None
    ]
    return Picture(
        title="Loss over time",
        svg=distance_chart(curves, unit=scene.unit, label="loss", about="loss over time"),
        caption="The mean loss of the served models on the evaluation data. Look for a curve that"
        " turns up again: there models grow too sure of what they saw.",
        legend=scene.legend,
    )


def _consensus(scene: Scene) -> Picture | None:
    curves = [
        curve
        for index, group in enumerate(scene.groups)
        if len(group.runs[0].learners) > 1
        and (curve := mean_curve(group, index, axis="seconds")) is not None
        and (curve.mean > 0).any()
    ]
    if not curves:
        return None
    return Picture(
        title="Consensus distance",
        svg=distance_chart(
            curves, unit=scene.unit, label="distance", about="consensus distance over time"
        ),
        caption="How far apart the nodes' models are: root mean square distance to their mean. It"
        " should rise at first and then fall or stay level; a line that keeps rising is a network"
        " that falls apart.",
        legend=tuple((curve.title, curve.colour) for curve in curves)
        if len(scene.groups) > 1
        else (),
    )


def figure_html(picture: Picture) -> str:
    """The picture with its title, legend and caption."""
    chips = "".join(
        f'<span><i style="background:var(--c{tint % SERIES})"></i>{escape(words)}</span>'
        for words, tint in picture.legend
    )
    legend = f'<div class="legend">{chips}</div>' if chips else ""
    return (
        f'<figure class="{picture.kind}"><h3>{escape(picture.title)}</h3>{legend}'
        f"{picture.svg}<figcaption>{escape(picture.caption)}</figcaption></figure>"
    )


def _kept_by(run: RunResult) -> str:
    """How the run keeps its bound, in words."""
    if run.config.staleness.policy == "wait" or run.config.algorithm.kind == "dpsgd":
        return "a node that is ahead waits"
    return "older models are left out"


def _number(count: int) -> str:
    return "One node is" if count == 1 else f"{count:,} nodes are"
