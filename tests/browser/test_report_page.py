"""The report in a real browser: it renders, fits a phone, and asks nobody for anything."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from p2pfl.comparison.side_by_side import compare_algorithms
from p2pfl.config.load import config_from_mapping
from p2pfl.experiment import Experiment
from p2pfl.report.page import write_report

pytestmark = pytest.mark.browser

PROBE = """<script>addEventListener("load",()=>{
const d=document,r=d.documentElement,o=d.createElement("output");
const wide=[...d.querySelectorAll("figure,h1,.tiles,.scroll,details")]
 .filter(e=>e.getBoundingClientRect().right>innerWidth+1).length;
const flat=[...d.querySelectorAll("figure svg")]
 .filter(e=>e.getBoundingClientRect().height<60).length;
o.id="probe";o.textContent=JSON.stringify({overflow:r.scrollWidth>innerWidth,wide,flat,
 pictures:d.querySelectorAll("figure svg").length,
 requests:performance.getEntriesByType("resource").length});
d.body.append(o)})</script>"""
"""What only a browser knows, told through the page's own text."""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of one run and one of three, each with the probe in it."""
    experiment = Experiment(
        config_from_mapping(
            {
                "name": "digits",
                "topology": {"kind": "ring", "nodes": 4},
                "data": "digits",
                "model": "softmax",
                "training": {"learning_rate": 0.1, "local_steps": 2},
                "compute": {"slowdown": {"n1": 4.0}},
                "stop": {"time_s": 1.0},
                "evaluation": {"every_s": 0.25},
            },
            source="test",
        )
    )
    results = compare_algorithms(experiment, algorithms=["fedavg", "local"]).results
    folder = tmp_path_factory.mktemp("pages")
    made = {
        "one": write_report(results[:1], folder / "one.html"),
        "many": write_report(results, folder / "many.html"),
    }
    for page in made.values():
        text = page.read_text(encoding="utf-8")
        page.write_text(text.replace("</main>", f"</main>{PROBE}"), encoding="utf-8")
    return made


def _browse(page: Path, *arguments: str) -> str:
    """The page's elements after it was loaded."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    assert browser is not None, "these tests need chromium: apt-get install chromium"
    done = subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={page.parent / 'profile'}",
            "--virtual-time-budget=2000",
            *arguments,
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout


@pytest.mark.parametrize("name", ["one", "many"])
@pytest.mark.parametrize("width", [500, 1200])
def test_the_page_renders_and_fits_the_window(
    pages: dict[str, Path], name: str, width: int
) -> None:
    found = _browse(pages[name], "--dump-dom", f"--window-size={width},2000")
    probe = re.search(r'<output id="probe">(.*?)</output>', found)
    assert probe is not None, "the page did not load"
    assert '"overflow":false,"wide":0,"flat":0' in probe.group(1)
    assert '"requests":0' in probe.group(1)
    assert f'"pictures":{found.count("<figure")}' in probe.group(1)
    assert "<h3>Accuracy over time</h3>" in found
    assert "<h3>Staleness</h3>" in found


def test_the_page_is_no_blank_picture(pages: dict[str, Path], tmp_path: Path) -> None:
    shot = tmp_path / "page.png"
    _browse(pages["many"], f"--screenshot={shot}", "--window-size=1200,3000")
    blank = tmp_path / "blank.html"
    blank.write_text("<!doctype html><title>blank</title>", encoding="utf-8")
    empty = tmp_path / "blank.png"
    _browse(blank, f"--screenshot={empty}", "--window-size=1200,3000")
    assert shot.stat().st_size > 5 * empty.stat().st_size
