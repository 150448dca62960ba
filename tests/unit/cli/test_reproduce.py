import json
from pathlib import Path

import pytest

from p2pfl.cli.main import main
from p2pfl.reproduction import reproduce as entrance
from p2pfl.reproduction.target import Chart, Line, Reproduction, Row, Tell


def made(measured: float) -> Reproduction:
    line = Line("ring", (0.0, 1.0), (1.0, 0.5))
    chart = Chart(title="Two < three", lines=(line,), x_label="t", y_label="y", caption="A curve.")
    shares = Chart(
        title="Shares", lines=(line,), x_label="t", y_label="y", caption="One.", percent=True
    )
    row = Row(what="bias", expected=1.0, measured=measured, source="theory")
    return Reproduction(rows=(row,), charts=(chart, shares))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What every target measures; 1 is expected."""
    values = [1.0]

    def fake(name: str, *, quick: bool, tell: Tell) -> Reproduction:
        tell(f"{name}, {quick}")
        return made(values[0])

    monkeypatch.setattr(entrance, "reproduce", fake)
    return values


@pytest.mark.usefixtures("measured")
def test_without_a_target_they_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce"]) == 0
    assert "  R1  consensus" in capsys.readouterr().out


@pytest.mark.usefixtures("measured")
def test_a_target_is_a_table_and_a_page_with_curves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reproduce", "R1", "--out", str(tmp_path)]) == 0
    assert "1 of 1 rows hold." in capsys.readouterr().out
    page = (tmp_path / "reproduce-R1.html").read_text("utf-8")
    assert page.count("<svg") == 2
    assert "Two &lt; three" in page
    assert "<td>bias</td><td>1 ± 15 %</td><td>1</td><td>yes</td><td>theory</td>" in page


def test_the_exit_code_tells_of_a_row_that_does_not_hold(
    tmp_path: Path, measured: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    measured[0] = 2.0
    assert main(["reproduce", "R1", "--out", str(tmp_path), "--format", "json"]) == 6
    shown = json.loads(capsys.readouterr().out)
    assert (shown[0]["target"], shown[0]["ok"], shown[0]["rows"][0]["measured"]) == (
        "R1",
        False,
        2.0,
    )


def test_an_unknown_target_is_refused_before_anything_is_computed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reproduce", "R1", "R0", "--out", str(tmp_path)]) == 2
    assert "no target 'R0'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
