import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.learning.batch_table import BatchTable
from p2pfl.learning.batches import Batches
from p2pfl.learning.trainer import TrainJob
from p2pfl.types import NodeId

SIZES = (1, 3, 40, 700)
NODES = [NodeId(f"n{i}") for i in range(len(SIZES))]
ENDS = np.cumsum((0, *SIZES)).tolist()
SHARDS = {n: slice(a, b) for n, a, b in zip(NODES, ENDS[:-1], ENDS[1:], strict=True)}
NONE = np.zeros(1, np.float32)


def streams(batch_size: int) -> Batches:
    return Batches(seed=3, batch_size=batch_size, shards=SHARDS)


@given(
    batch_size=st.sampled_from([1, 7, 16, 300]),
    calls=st.lists(
        st.lists(
            st.tuples(st.integers(0, 3), st.integers(0, 60), st.integers(1, 4)),
            min_size=1,
            max_size=6,
        ),
        min_size=1,
        max_size=5,
    ),
)
def test_looked_up_together_they_are_each_nodes_own_batches(
    batch_size: int, calls: list[list[tuple[int, int, int]]]
) -> None:
    table = BatchTable(streams(batch_size), nodes=NODES, batch_size=batch_size)
    for call in calls:
        jobs = [TrainJob(NODES[i], NONE, first, steps, None) for i, first, steps in call]
        found = table.positions(jobs)
        assert found.shape == (len(jobs), max(job.steps for job in jobs) * batch_size)
        for row, job in zip(found, jobs, strict=True):
            wanted = streams(batch_size).of(job.node).batches(job.first_step, job.steps)
            assert np.array_equal(row[: len(wanted)], wanted)
