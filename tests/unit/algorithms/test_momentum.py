"""Momentum at its node, and local steps that become more: what each rule does by itself."""

import numpy as np
import pytest

from p2pfl.algorithms.base import Local, Surroundings
from p2pfl.algorithms.dpsgd import DPSGD, RoundState
from p2pfl.algorithms.dsgdm import DSGDm, MomentumState
from p2pfl.algorithms.local_sgd import LocalSGD
from p2pfl.algorithms.mixing import mean_gradient
from p2pfl.algorithms.qg_dsgdm import QGDSGDm, QuasiGlobalState
from p2pfl.messages import Neighbour
from p2pfl.types import NodeId, Vector


def here(version: int = 0, local_steps: int = 1) -> Local:
    """A node whose learning rate is 0.5."""
    return Local(
        NodeId("n0"),
        version,
        samples=1,
        steps=0,
        local_steps=local_steps,
        step_sizes=lambda _, count: 0.5 * count,
    )


def vector(*values: float) -> Vector:
    return np.array(values, dtype=np.float32)


def neighbour(model: Vector) -> Neighbour:
    return Neighbour(NodeId("n1"), 0.5, 1.0, True, False, 0, None, model)


def test_the_mean_gradient_is_what_moved_over_the_step_size() -> None:
    assert mean_gradient(vector(1.0), vector(0.0), 0.5) == vector(2.0)
    assert mean_gradient(vector(1.0), vector(1.0), 0.0) is None


def test_dsgdm_adds_its_momentum_to_each_gradient_of_the_next_update() -> None:
    rule = DSGDm(beta=0.5)
    step = rule.advance(rule.initial(vector(0.0)), here(), [neighbour(vector(2.0))])
    assert step.train is not None
    assert step.train.start == vector(1.0)
    assert step.train.correction is None
    done = rule.finish(step.state, here(local_steps=2), [], vector(-1.0))
    assert done.state.momentum == vector(2.0)
    assert done.outgoing[0].vector == done.state.x == vector(-1.0)
    again = rule.advance(done.state, here(1), [])
    assert again.train is not None
    assert again.train.correction == vector(1.0)


def test_the_momentum_of_dsgdm_stays_at_its_node() -> None:
    rule = DSGDm(beta=0.5)
    state = MomentumState(vector(0.0), momentum=vector(2.0))
    heard = [neighbour(vector(2.0))]
    assert rule.advance(state, here(), heard).state.momentum == vector(2.0)
    assert rule.opening(state)[0].extra is None
    assert rule.served(state, heard) == vector(1.0)
    assert rule.public(state) == vector(0.0)
    assert rule.resumed(state._replace(start=vector(1.0))) == state


def test_a_node_that_comes_back_is_at_rest() -> None:
    rule = DSGDm()
    assert rule.adopt(MomentumState(vector(0.0), vector(2.0)), vector(3.0)) == (
        vector(3.0),
        None,
        None,
    )


def test_an_update_that_counts_twice_moves_twice_as_far_with_the_same_momentum() -> None:
    rule = DSGDm().at(Surroundings(NodeId("n0"), scale=2.0))
    done = rule.finish(MomentumState(vector(0.0), start=vector(1.0)), here(), [], vector(0.0))
    assert done.state.x == vector(-1.0)
    assert done.state.momentum == vector(2.0)


def test_quasi_global_momentum_follows_the_mixed_models() -> None:
    rule = QGDSGDm(beta=0.5)
    heard = [neighbour(vector(2.0))]
    step = rule.advance(rule.initial(vector(0.0)), here(), heard)
    assert step.train is not None
    assert step.train.start == vector(1.0)
    assert step.train.correction is None
    done = rule.finish(step.state, here(local_steps=2), [], vector(-1.0))
    assert done.outgoing[0].vector == done.state.x == vector(-1.0)
    # z moved from 1 to 0.5 by steps of 1 together: m = (1 - 0.5) 0.5.
    again = rule.advance(done.state, here(1), heard)
    assert again.state.momentum == vector(0.25)
    assert again.train is not None
    assert again.train.correction == vector(0.125)
    done = rule.finish(again.state, here(1, local_steps=2), [], vector(0.5))
    third = rule.advance(done.state, here(2), heard)
    assert third.state.momentum == vector(0.5 * 0.25 + 0.5 * -0.75)


def test_steps_of_no_length_leave_quasi_global_momentum_as_it_is() -> None:
    rule = QGDSGDm()
    state = QuasiGlobalState(vector(0.0), vector(2.0), mixed=vector(1.0), step_size=0.0)
    assert rule.advance(state, here(), []).state.momentum == vector(2.0)


def test_quasi_global_momentum_stays_at_its_node() -> None:
    rule = QGDSGDm().at(Surroundings(NodeId("n0"), scale=2.0))
    state = QuasiGlobalState(vector(0.0), vector(2.0), mixed=vector(1.0))
    assert rule.finish(state, here(), [], vector(0.0)).state.x == vector(-1.0)
    assert rule.opening(state)[0].vector == vector(0.0)
    assert rule.served(state, [neighbour(vector(2.0))]) == vector(1.0)
    assert rule.public(state) == vector(0.0)
    assert rule.adopt(state, vector(3.0)) == QuasiGlobalState(vector(3.0))
    assert rule.resumed(state) == QuasiGlobalState(vector(0.0), vector(2.0))


@pytest.mark.parametrize(("version", "steps"), [(0, 1), (2, 1), (3, None), (9, None)])
def test_local_sgd_takes_single_steps_until_it_switches(version: int, steps: int | None) -> None:
    rule = LocalSGD(switch_step=3)
    step = rule.advance(RoundState(vector(0.0)), here(version), [neighbour(vector(2.0))])
    plain = DPSGD().advance(RoundState(vector(0.0)), here(version), [neighbour(vector(2.0))])
    assert step.train is not None
    assert plain.train is not None
    assert step.train.steps == steps
    assert step.train.start == plain.train.start
