"""The graph, mended while the run goes on: who is gone is replaced as a neighbour."""

from typing import cast

from p2pfl.simulation.world import World
from p2pfl.topology.build import Topology
from p2pfl.topology.repair import repair_graph
from p2pfl.topology.weights import WeightsName, weight_rows


class Repair:
    """Rewires the living a moment after somebody came or went.

    The graph follows from who is there and from nothing else: when all are back, it is that of the
    file again. Weights are those of the new degrees, so that both ends of a link agree.
    """

    def __init__(
        self, world: World, topology: Topology, *, degree: int, seed: int, after_s: float
    ) -> None:
        self._world = world
        self._topology = topology
        self._degree = degree
        self._seed = seed
        self._after_s = after_s
        world.on_change = self._plan

    def _plan(self) -> None:
        self._world.at(self._world.now_s + self._after_s, self._mend)

    def _mend(self) -> None:
        there = [name for name, one in self._world.inhabitants.items() if one.alive]
        graph = self._topology.graph
        if not there:
            return
        if len(there) < len(graph):
            graph = repair_graph(graph, there, degree=self._degree, seed=self._seed)
        rows = weight_rows(graph, weights=cast("WeightsName", self._topology.weights))
        for name in there:
            self._world.rewire(name, rows[name])
