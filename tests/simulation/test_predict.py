"""`p2pfl predict`: theory and a short simulation agree, and where theory has no law it says so."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from p2pfl.cli.main import main
from p2pfl.config.schema import DataConfig, ModelConfig
from p2pfl.errors import ConfigError
from p2pfl.reproduction.predict import predict
from p2pfl.reproduction.quadratics import quadratics
from p2pfl.reproduction.standin import stand_in, update_s
from p2pfl.reproduction.target import Reproduction, Row

EIGHT = quadratics(nodes=8, slow=4, time_s=100.0)
DIGITS = {"data": DataConfig(kind="digits"), "model": ModelConfig(kind="softmax")}


def rows(made: Reproduction) -> Mapping[str, Row]:
    """By the first word of what they are about."""
    return {row.what.split()[0].rstrip(":,"): row for row in made.rows}


def predicted(**tables: object) -> Reproduction:
    return predict(quadratics(nodes=8, slow=4, time_s=100.0, **tables), seconds=400.0)


def test_everything_that_theory_says_of_pull_mix_holds() -> None:
    made = predicted()
    assert set(rows(made)) == {"consensus", "bias", "speed", "largest"}
    # Slow and fast nodes stand in two blocks, where the speed law is rougher than it claims.
    assert [row.what for row in made.rows if not row.ok and "speed" not in row.what] == []
    assert rows(made)["consensus"].expected == pytest.approx(0.804738, abs=1e-6)
    assert "stand-in" not in made.notes[0]


@pytest.mark.parametrize(
    "algorithm",
    [
        {"kind": "fedprox", "proximal": 5.0},
        {"kind": "fedavg", "normalise": True},
        {"kind": "fedasync", "alpha": 0.05},
        {"kind": "fedbuff", "buffer_size": 4, "server_learning_rate": 0.2},
    ],
    ids=lambda algorithm: algorithm["kind"],
)
def test_a_servers_resting_point_is_predicted(algorithm: dict[str, object]) -> None:
    steps = {"n0": 1} if "normalise" in algorithm else {}
    training = {"local_steps": 6, "local_steps_of": steps}
    made = predicted(algorithm=algorithm, training=training, compute={"step_s": 1 / 6})
    assert rows(made)["bias"].ok
    assert rows(made)["bias"].expected > 0.02


@pytest.mark.parametrize(
    "algorithm", [{"kind": "fedasync"}, {"kind": "fedbuff", "discount": "hinge"}]
)
def test_no_law_is_claimed_where_one_update_moves_a_server_far(
    algorithm: dict[str, object],
) -> None:
    assert "bias" not in rows(predicted(algorithm=algorithm))


@pytest.mark.parametrize("kind", ["dpsgd", "dsgdm", "gradient_tracking", "fedavg"])
def test_who_waits_is_as_slow_as_the_slowest_and_ends_where_theory_says(kind: str) -> None:
    found = rows(predicted(algorithm={"kind": kind}))
    assert found["bias"].ok
    assert found["rounds"].ok
    assert found["rounds"].expected == pytest.approx(0.2)


def test_dropping_by_lag_is_predicted_to_forget_the_slow() -> None:
    made = predicted(staleness={"metric": "lag", "bound": 4.0}, compute={"sigma": 0.0})
    assert rows(made)["bias"].ok
    assert rows(made)["bias"].expected > 5.0 * rows(predicted())["bias"].expected
    assert any(note.startswith("Speed:") for note in made.notes)


@pytest.mark.parametrize("reciprocal", [True, False])
def test_a_discount_by_lag_is_predicted_with_the_weights_of_the_end(*, reciprocal: bool) -> None:
    discount = {"policy": "discount", "metric": "lag", "reciprocal": reciprocal}
    assert rows(predicted(staleness=discount, compute={"sigma": 0.0}))["bias"].ok


@pytest.mark.parametrize("kind", ["ad_psgd", "consume_once", "mix_on_receive"])
def test_who_counts_fast_nodes_more_is_predicted_to(kind: str) -> None:
    found = rows(predicted(algorithm={"kind": kind}))
    assert found["bias"].ok
    assert found["bias"].expected > 0.2


@pytest.mark.parametrize("kind", ["ad_psgd", "consume_once"])
def test_steps_by_elapsed_time_are_predicted_to_count_all_alike_or_nearly(kind: str) -> None:
    compute, data = {"step_s": 0.5}, {"condition": 2.0}
    algorithm = {"kind": kind, "step": "elapsed"}
    found = rows(predicted(algorithm=algorithm, compute=compute, data=data))
    assert found["bias"].ok
    assert found["bias"].expected < 0.15


@pytest.mark.parametrize(("step", "least"), [("x", 0.3), ("elapsed", 0.05), ("y", 0.03)])
def test_whose_data_count_in_push_sum_is_predicted_by_the_kind_of_its_step(
    step: str, least: float
) -> None:
    found = rows(predicted(algorithm={"kind": "push_sum", "step": step}))
    assert found["bias"].ok
    assert found["bias"].expected > least


@pytest.mark.parametrize(("step", "window"), [("elapsed", 0), ("x", 0), ("y", 1)])
def test_no_law_is_claimed_for_other_steps_and_windows_of_push_sum(step: str, window: int) -> None:
    algorithm = {"kind": "push_sum", "step": step, "window": window}
    assert "bias" not in rows(predicted(algorithm=algorithm))


def test_where_theory_has_no_law_the_measured_number_is_a_note() -> None:
    made = predicted(staleness={"policy": "discount", "metric": "missed"})
    assert "bias" not in rows(made)
    assert any(note.startswith("Theory has no bias for PullMix here") for note in made.notes)


def test_data_of_the_world_is_replaced_by_a_stand_in_and_the_page_says_so() -> None:
    world = EIGHT.replace(**DIGITS)
    made = predict(world, seconds=200.0)
    assert made.notes[0].startswith("A quadratic stand-in takes the place of digits")
    sites = stand_in(world, time_s=1.0).config.data.sites
    assert sites == (-1.0,) * 4 + (1.0,) * 4
    assert list(update_s(world)) == [5.0] * 4 + [1.0] * 4


def test_equally_fast_nodes_take_turns_around_the_two_optima() -> None:
    equal = quadratics(nodes=4, slow=0, time_s=9.0).replace(**DIGITS)
    assert stand_in(equal, time_s=1.0).config.data.sites == (1.0, -1.0, 1.0, -1.0)


def test_what_cannot_be_predicted_is_refused() -> None:
    with pytest.raises(ConfigError, match="combines no models"):
        predicted(algorithm={"kind": "local"})
    with pytest.raises(ConfigError, match="allowed: at most 256"):
        predict(quadratics(nodes=300, slow=0, time_s=1.0))


FILE = """
name = "small"
data = "quadratic"
model = "quadratic"
topology = { kind = "complete", nodes = 4 }
training = { learning_rate = 0.05, local_steps = 1 }
compute = { step_s = 1.0 }
algorithm = { kind = "dpsgd" }
stop = { time_s = 10.0 }
"""


def test_the_command_shows_a_table_or_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "small.toml"
    file.write_text(FILE, "utf-8")
    assert main(["predict", str(file), "--seconds", "100"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("small: D-PSGD\n")
    assert "rows hold." in shown
    assert main(["predict", str(file), "--seconds", "100", "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["experiment"], told["algorithm"], told["ok"]) == ("small", "D-PSGD", True)
    assert main(["predict", str(file), "--seconds", "0"]) == 2
