"""No message of a peer makes a node raise, whatever algorithm it follows."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.claims import CLAIMS, claimed_experiment_tables
from support.experiments import quadratic_experiment

from p2pfl.experiment import Experiment
from p2pfl.messages import (
    Header,
    Incarnation,
    ModelMessage,
    Presence,
    PresenceState,
    Received,
    Started,
    Trained,
    VersionRequest,
    Woken,
)
from p2pfl.protocol.node import Node
from p2pfl.types import Extra, NodeId

DIMENSION = 10
KINDS = ["model", "global", "update", "final", "ask", "answer", "x"]
SMALL = st.one_of(st.integers(0, 8), st.sampled_from([2**31, 2**32 - 1, 2**63, 2**64 - 1]))


def experiment_of(kind: str) -> Experiment:
    return quadratic_experiment(
        nodes=4, slow=1, **claimed_experiment_tables(kind) | {"topology": {"nodes": 4}}
    )


class Attack:
    """One node, and messages of each of its peers with anything in them."""

    def __init__(self, experiment: Experiment, name: NodeId, draw: st.DataObject) -> None:
        trainer = experiment.make_trainer()
        self.node: Node = experiment.make_node(name, run="r", trainer=trainer, x0=trainer.initial())
        self.now = 0.0
        self.peers = [p for p, _ in experiment.place(name).neighbours] or [NodeId("n0")]
        self.schema = trainer.schema
        self.draw = draw

    def go(self) -> None:
        """Some twenty events."""
        node, draw = self.node, self.draw.draw
        node.handle(Started(Incarnation(1, 1), rejoining=draw(st.booleans())), 0.0)
        for _ in range(draw(st.integers(1, 20))):
            self.now += draw(st.floats(0.0, 4.0))
            what = draw(st.sampled_from(["model", "model", "presence", "trained", "ask", "wake"]))
            if what == "trained":
                end = np.full(DIMENSION, draw(st.floats(-9, 9)), np.float32)
                node.handle(Trained(node._training, end, 1.0), self.now)
            elif what == "wake":
                node.handle(Woken(node._beat), self.now)
            else:
                node.handle(Received(self.message(what), retained=draw(st.booleans())), self.now)
            assert np.isfinite(node.served(self.now)).all()
            assert np.isfinite(node.public()).all()

    def message(self, what: str) -> Any:  # noqa: ANN401 - any message
        draw = self.draw.draw
        peer, life = draw(st.sampled_from(self.peers)), Incarnation(draw(st.integers(0, 2)), 1)
        version = draw(SMALL)
        if what == "ask":
            return VersionRequest("r", peer, version)
        if what == "presence":
            state = draw(st.sampled_from(PresenceState))
            digest = self.node.settings.digest
            return Presence("r", peer, life, state, version, 0.5, self.now, digest)
        header = Header(
            run="r",
            schema=self.schema,
            node=peer,
            incarnation=life,
            sequence=draw(SMALL),
            version=version,
            oldest_version=draw(st.integers(0, version)),
            sent_s=self.now,
            period_s=draw(st.floats(0.0, 3.0)),
            kind=draw(st.sampled_from(KINDS)),
            local_steps=draw(SMALL),
            samples=draw(SMALL),
            degree=draw(SMALL),
            epoch=draw(SMALL),
            words=tuple(draw(st.lists(SMALL, max_size=5))),
        )
        vector = np.full(DIMENSION, draw(st.floats(-1e3, 1e3, width=32)), np.float32)
        return ModelMessage(header, vector, self.extra())

    def extra(self) -> Extra | None:
        """Of the right form, mostly: other forms are refused before the algorithm sees them."""
        beside = self.node.algorithm.capabilities.beside
        draw = self.draw.draw
        if beside is None or draw(st.integers(0, 5)) == 0:
            return draw(st.sampled_from([None, np.zeros(3, np.uint32)]))
        size = beside.size(DIMENSION)
        if beside.dtype == "uint32":
            return np.full(size, draw(st.integers(0, 2**32 - 1)), np.uint32)
        return np.full(size, draw(st.floats(-1e3, 1e3, width=32)), np.float32)


@pytest.mark.parametrize("kind", CLAIMS)
@given(data=st.data())
def test_no_message_of_a_peer_makes_a_node_raise(kind: str, data: st.DataObject) -> None:
    experiment = experiment_of(kind)
    name = data.draw(st.sampled_from(sorted(experiment.places)))
    Attack(experiment, name, data).go()
