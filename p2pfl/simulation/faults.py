"""What comes from outside the nodes, at its time: deaths and returns, sleep, partitions."""

import math
from collections.abc import Collection, Iterator
from functools import partial

from p2pfl.config.schema import ChurnConfig, ExperimentConfig
from p2pfl.draws import draw
from p2pfl.simulation.devices import Devices
from p2pfl.simulation.world import World
from p2pfl.types import NodeId


class Faults:
    """Plans an experiment's faults in a world, one step ahead where they never end.

    A node named that this run does not have (FedAvg's star, a centralized run) is passed over.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        world: World,
        devices: Devices,
        *,
        nodes: Collection[NodeId],
    ) -> None:
        self._config = config
        self._world = world
        self._devices = devices
        self._nodes = tuple(node for node in nodes if node in world.inhabitants)
        self._to_come = 0

    @property
    def returns_to_come(self) -> bool:
        """True while a node that is not there is still to come (back)."""
        return self._to_come > 0

    def plan(self) -> None:
        """Once, before the world starts."""
        self._plan_lives()
        churn, joins = self._config.faults.churn, self._config.faults.join
        if churn is not None:
            since_s = {NodeId(join.node): join.at_s for join in joins}
            for node in self._nodes:
                self._churn(node, churn, since_s.get(node, 0.0), 0)
        for node in self._devices.scheduled:
            if node in self._world.inhabitants:
                self._sleep_next(node, self._devices.naps(node))
        self._plan_partitions()
        every_s = self._config.checkpoint.every_s
        if every_s is not None:
            self._world.checkpoints = True
            self._save_all(every_s, 1)

    def _save_all(self, every_s: float, k: int) -> None:
        """Plan the k-th checkpoint of every node."""

        def save() -> None:
            for node in self._world.inhabitants:
                self._world.save(node)
            self._save_all(every_s, k + 1)

        self._world.at(k * every_s, save)

    def _plan_lives(self) -> None:
        """Joins, crashes and leaves, each with its return."""
        faults, world = self._config.faults, self._world
        for join in faults.join:
            if (node := NodeId(join.node)) in world.inhabitants:
                world.keep_out(node)
                self._return_at(join.at_s, node)
        for crash in faults.crash:
            if (node := NodeId(crash.node)) in world.inhabitants:
                world.at(crash.at_s, partial(world.crash, node))
                self._return_at(crash.restart_s, node)
        for leave in faults.leave:
            if (node := NodeId(leave.node)) in world.inhabitants:
                world.at(leave.at_s, partial(world.leave, node))
                self._return_at(leave.return_s, node)

    # ------------------------------------------------------------ life and death

    def _return_at(self, at_s: float | None, node: NodeId) -> None:
        if at_s is not None:
            self._to_come += 1
            self._world.at(at_s, partial(self._return, node))

    def _return(self, node: NodeId) -> None:
        self._to_come -= 1
        self._world.restart(node)

    def _churn(self, node: NodeId, churn: ChurnConfig, since_s: float, k: int) -> None:
        """Plan the end of the k-th life, which began at `since_s`."""
        seed = self._config.seed
        end_s = since_s - churn.life_s * math.log(1.0 - draw(seed, node, "life", k))
        gone_s = -churn.absence_s * math.log(1.0 - draw(seed, node, "absence", k))

        def end() -> None:
            polite = draw(seed, node, "graceful", k) < churn.graceful
            (self._world.leave if polite else self._world.crash)(node)
            self._return_at(end_s + gone_s, node)
            self._churn(node, churn, end_s + gone_s, k + 1)

        self._world.at(end_s, end)

    # ------------------------------------------------------------ sleep

    def _sleep_next(self, node: NodeId, naps: Iterator[tuple[float, float]]) -> None:
        nap = next(naps, None)
        if nap is None:
            return
        from_s, until_s = nap

        def fall_asleep() -> None:
            self._world.sleep(node)
            if until_s == math.inf:
                self._world.vanish(node)
            else:
                self._world.at(until_s, wake_up)

        def wake_up() -> None:
            self._world.wake(node)
            self._sleep_next(node, naps)

        self._world.at(from_s, fall_asleep)

    # ------------------------------------------------------------ partitions

    def _plan_partitions(self) -> None:
        partitions = self._world.network.partitions
        for i, partition in enumerate(self._config.network.partitions):
            self._world.at(partition.from_s, partial(partitions.begin, i, partition))
            if partition.until_s is not None:
                self._world.at(partition.until_s, partial(self._heal, i))

    def _heal(self, key: int) -> None:
        """End a partition: who was cut off from somebody subscribes anew, and reads the newest.

        What the broker kept says nothing of life now. So it comes as retained, and is mixed only
        after its sender has shown life, by its next model or beat.
        """
        world = self._world
        before = {
            name: [p for p in one.node.neighbourhood.peers if world.network.apart(p, name)]
            for name, one in world.inhabitants.items()
        }
        world.network.partitions.heal(key)
        for name, cut_off in before.items():
            world.rehear(name, [p for p in cut_off if not world.network.apart(p, name)])
