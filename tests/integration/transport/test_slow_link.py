"""A model that takes seconds on its way: in parts, told while it comes, in bounded memory."""

import bench_large_model
import bench_loop
import bench_round
import pytest

pytestmark = pytest.mark.broker


async def test_a_model_over_a_slow_link_comes_in_parts_and_its_progress_is_shown() -> None:
    found = await bench_large_model.measured(
        width=500, time_s=12.0, bytes_per_s=2.5e5, progress_s=1.0
    )
    assert found["model_mb"] == pytest.approx(1.15, abs=0.01)
    assert found["came"] >= 1
    assert found["told"] >= 1
    assert " of 1.2 MB, " in str(found["example"])
    # It mixes each second, and a model needs five.
    assert found["advised"] == 1
    # Beyond Python and torch: vectors, frames and parts, never a queue of models.
    assert found["peak_mib"] - found["first_half_mib"] < 40 * found["vector_mib"]


def test_the_parts_of_a_round_are_measured() -> None:
    found = bench_round.measured("dpsgd", 10)
    assert found["round"] == pytest.approx(found["compute"] + found["wire"] + found["beyond"])
    assert min(found["round"], found["compute"], found["wire"]) > 0
    assert found["bytes"] > 4 * 2410


async def test_how_long_the_event_loop_is_kept_from_its_work_is_measured() -> None:
    found = await bench_loop.measured(width=300, time_s=6.0, niceness=5, warm_s=0.0)
    assert 0 < found["p50_ms"] <= found["p99_ms"] <= found["most_ms"]
    assert found["own_ms"] > 0
    assert found["came_mb_s"] > 0
    assert found["steps"] > 0
