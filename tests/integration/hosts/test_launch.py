"""`p2pfl launch` on three hosts with an sshd each, a broker on a fourth, links of 20 Mbit/s."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.hosts import BROKER_ADDRESS, ROOT, Hosts, make_key

from p2pfl.experiment import load_experiment
from p2pfl.results.folder import read_run
from p2pfl.results.read_history import find_histories
from p2pfl.simulation.simulate import simulate

pytestmark = pytest.mark.hosts

HERE = Path(__file__).parent
NAMES = ("lab", "clinic", "edge")
CUT_S = float(os.environ.get("P2PFL_CUT_S", "10"))
"""For so long one host is cut off; 60 outside of continuous integration."""

AFTER_S = 12.0
"""And so long the run goes on at least when it is back."""


@dataclass
class Site:
    """What a test has: hosts, a hosts file, and a broker that all reach."""

    hosts: Hosts
    file: Path
    url: str
    folder: Path

    def launch(self, *words: str, file: Path | None = None) -> "subprocess.Popen[str]":
        """Start `p2pfl launch` on the broker's host."""
        where = ("--hosts", str(file or self.file), "--out", str(self.folder / "runs"))
        what = experiment_words()
        return self.hosts.start("broker", "launch", *what, *words, *where, "--broker", self.url)

    def p2pfl_on(self, *names: str, what: str = "") -> list[int]:
        """Processes of runs there: all but sshd and the shells before it."""
        found = []
        for name in names:
            for pid in self.hosts.pids(name):
                with contextlib.suppress(OSError):
                    if f"p2pfl.runtime.{what}" in Path(f"/proc/{pid}/cmdline").read_text():
                        found.append(pid)
        return found

    def result(self) -> Path:
        """The folder of the newest run."""
        return max((self.folder / "runs").iterdir())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    hosts = Hosts(f"p2pfl{os.getpid()}l")
    try:
        yield _set_up(hosts, folder)
    finally:
        hosts.remove()


def _set_up(hosts: Hosts, folder: Path) -> Site:
    hosts.add_broker_host()
    make_key(folder / "key")
    known, delays = "", True
    for number, name in enumerate(NAMES):
        hosts.add(name, f"10.77.0.{11 + number}")
        delays = hosts.shape(name, rate="20mbit", delay="10ms", loss="0.1%") and delays
        known += hosts.start_sshd(name, folder / name, public_key=folder / "key.pub")
    (folder / "known_hosts").write_text(known)
    url = hosts.start_broker(folder)
    if not delays:
        script = str(ROOT / "tests" / "support" / "forwarder.py")
        target, slow = f"{BROKER_ADDRESS}:1883", f"{BROKER_ADDRESS}:1884"
        hosts.start_script("broker", script, slow, target, "0.01", "0.001")
        url = url.replace("1883", "1884")
    return Site(hosts, hosts_file(folder), url, folder)


def hosts_file(folder: Path, name: str = "hosts.toml", **changes: dict[str, str]) -> Path:
    """A hosts file for the three; `changes`: host -> keys that differ there."""
    mnist = ROOT.parent / "shared" / "data" / "mnist"
    lines = ["[defaults]", 'user = "root"', 'key = "key"', 'known_hosts = "known_hosts"']
    lines.append(f'python = "{sys.executable}"')
    for number, host in enumerate(NAMES):
        keys = {
            "address": f"10.77.0.{11 + number}",
            "folder": f"{folder / host / 'work'}",
            "data": str(mnist) if mnist.is_dir() else "digits",
        } | changes.get(host, {})
        lines += [f"[hosts.{host}]", *(f'{key} = "{value}"' for key, value in keys.items())]
    file = folder / name
    file.write_text("\n".join(lines) + "\n")
    return file


def experiment_words() -> list[str]:
    """The experiment, on the digits where no MNIST lies beside the project."""
    words = [str(HERE / "three_hosts.toml")]
    if not (ROOT.parent / "shared" / "data" / "mnist").is_dir():
        words += ["--set", "data.kind=digits", "--set", "data.samples=", "--set"]
        words += ["evaluation.samples="]
    return words


def wait_for(process: "subprocess.Popen[str]", pattern: str) -> str:
    """Read what it prints until a line matches; all of it so far."""
    assert process.stdout is not None
    heard = ""
    for line in process.stdout:
        heard += line
        if re.search(pattern, line):
            return heard
    raise AssertionError(f"{pattern} never came: {heard}")


@dataclass
class Mix:
    """One mix of one node, by the calendar."""

    unix_s: float
    staleness: float
    heard: set[str]


def mixes_of(folder: Path) -> dict[str, list[Mix]]:
    """Node -> all its mixes, from the records that the hosts kept."""
    found: dict[str, list[Mix]] = {}
    for file in find_histories(folder):
        head, *lines = map(json.loads, file.read_text().splitlines())
        at_s = 0.0
        for line in lines:
            at_s = line.get("at", at_s)
            for kind, *told in line.get("did", ()):
                if kind == "mix":
                    _, staleness, readings, left_out = told
                    heard = {reading[0] for reading in readings} - set(left_out)
                    unix_s = head["unix_s"] + at_s - head["at_s"]
                    found.setdefault(head["node"], []).append(Mix(unix_s, staleness, heard))
    return found


def normal_accuracy(folder: Path) -> float:
    """What the same experiment comes to in virtual time, where nobody is cut off."""
    final = simulate(load_experiment(folder / "experiment.toml")).final
    assert final.accuracy_mean is not None
    return final.accuracy_mean


def test_three_hosts_learn_mnist_though_one_is_cut_off(site: Site) -> None:
    process = site.launch("--record", "--set", f"stop.steps={int(50 * (CUT_S + AFTER_S))}")
    heard = wait_for(process, r"3 training")
    time.sleep(2.0)
    site.hosts.cut("edge")
    cut_s = time.time()
    time.sleep(CUT_S)
    site.hosts.heal("edge")
    healed_s = time.time()
    output, _ = process.communicate(timeout=120.0 + CUT_S)
    assert process.returncode == 0, heard + output
    assert not site.p2pfl_on(*NAMES)
    result = read_run(site.result())
    assert result.final.accuracy_mean is not None
    assert {node.outcome for node in result.nodes} == {"finished"}, heard + output
    assert len(result.served) == 3
    assert result.final.accuracy_mean > normal_accuracy(site.result()) - 0.03
    mixes = mixes_of(site.result())
    assert all(mix.staleness <= result.staleness_bound for each in mixes.values() for mix in each)
    # The floor of the bound, two seconds, and whatever was on its way.
    gone = [mix for mix in mixes["n0"] if cut_s + 3.0 < mix.unix_s < healed_s]
    back = [mix for mix in mixes["n0"] if mix.unix_s > healed_s]
    assert len(gone) > 2 * (CUT_S - 3.0)
    assert all(mix.heard == {"n1"} for mix in gone)
    assert any(mix.heard == {"n1", "n2"} for mix in back)
    alone = [mix for mix in mixes["n2"] if cut_s + 3.0 < mix.unix_s < healed_s]
    assert alone
    assert not any(mix.heard for mix in alone)
    assert any(mix.heard == {"n0", "n1"} for mix in mixes["n2"] if mix.unix_s > healed_s)


def test_ctrl_c_stops_all_hosts_and_one_that_is_cut_off_when_it_is_back(site: Site) -> None:
    process = site.launch("--set", "stop.steps=100000")
    heard = wait_for(process, r"3 training")
    site.hosts.cut("edge")
    heard += wait_for(process, "host edge .* its nodes go on")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60.0)
    assert process.returncode == 130, heard + output
    assert "n2 on edge cannot be reached" in output
    assert "host edge cannot be reached: what runs there (n2) hears of the end" in output
    assert not site.p2pfl_on("lab", "clinic")
    assert len(site.p2pfl_on("edge", what="nursery")) == 2
    site.hosts.heal("edge")
    until_s = time.time() + 30.0
    # The node ends; what started it waits for a word from us, as long as the hosts file says.
    while len(site.p2pfl_on("edge", what="nursery")) == 2:
        assert time.time() < until_s
        time.sleep(0.2)
    os.kill(site.p2pfl_on("edge", what="outpost")[0], signal.SIGTERM)
    while site.p2pfl_on("edge"):
        assert time.time() < until_s
        time.sleep(0.2)


def test_what_is_missing_on_which_host_is_said_before_anything_starts(site: Site) -> None:
    (site.folder / "strange_key").unlink(missing_ok=True)
    make_key(site.folder / "strange_key")
    file = hosts_file(
        site.folder,
        "bad.toml",
        lab={"key": "strange_key"},
        clinic={"python": "/usr/bin/python-of-nobody"},
        edge={"data": "/no/such/place.npz"},
    )
    process = site.launch(file=file)
    output, _ = process.communicate(timeout=60.0)
    assert process.returncode == 2, output
    (line,) = output.strip().splitlines()
    assert "host lab (root@10.77.0.11): it does not let this user in" in line
    assert "host clinic: there is no /usr/bin/python-of-nobody" in line
    assert "host edge: its data: /no/such/place.npz" in line
    assert not site.p2pfl_on(*NAMES)


def test_a_host_that_is_not_there_or_not_known_is_named(site: Site) -> None:
    (site.folder / "nobody").write_text("")
    file = hosts_file(
        site.folder, "away.toml", lab={"address": "10.77.0.99"}, edge={"known_hosts": "nobody"}
    )
    output, _ = site.launch(file=file).communicate(timeout=60.0)
    assert "host lab (root@10.77.0.99): " in output
    assert "host edge (root@10.77.0.13): its public key is not among the known ones" in output
    assert len(output.strip().splitlines()) == 1
    assert not site.p2pfl_on(*NAMES)
