"""Compose and Kubernetes files do what they say: each container's own words, mounts and user."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.containers import UID, Container, Engine, Mount, entry
from support.hosts import Hosts

from p2pfl.cli.main import main

pytestmark = [pytest.mark.hosts, pytest.mark.mosquitto]

TEXT = """
name = "small"
data = { kind = "quadratic", dimension = 30000 }
model = "quadratic"
topology = { kind = "path", nodes = 3 }
training = { learning_rate = 0.02, local_steps = 2 }
compute = { step_s = 0.005 }
stop = { time_s = 8.0 }
evaluation = { every_s = 0.5 }
checkpoint = { every_s = 1.0 }
"""
NODES = ("n0", "n1", "n2")


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    made = Hosts(f"p2pfl{os.getpid()}")
    try:
        yield made
    finally:
        made.remove()


def until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, what
        time.sleep(0.1)


def made(kind: str, folder: Path) -> tuple[Path, str, Path]:
    """The files, the Dockerfile and the wheel."""
    (folder / "small.toml").write_text(TEXT)
    out = folder / "out"
    assert main(["deploy", kind, str(folder / "small.toml"), "--out", str(out)]) == 0
    (wheel,) = (out / "image").glob("*.whl")
    return out, (out / "image" / "Dockerfile").read_text(), wheel


def live_and_finish(
    engine: Engine,
    containers: dict[str, Container],
    is_well: Callable[[str], bool],
) -> None:
    """Bring all up in order, kill one node, start it again as it was; all must finish."""
    broker = engine.start(containers["broker"])
    until(lambda: is_well("broker"), "the broker is never well")
    nodes = {name: engine.start(containers[name]) for name in NODES}
    for name in NODES:
        until(lambda name=name: is_well(name), f"{name}: {engine.log(name).read_text()}")  # type: ignore[misc]  # a default.
    kept = engine.volume("n1") / "n1.checkpoint"
    until(kept.exists, "n1 keeps no checkpoint")
    nodes["n1"].kill()
    nodes["n1"].wait()
    nodes["n1"] = engine.start(containers["n1"])
    codes = {name: process.wait(timeout=60.0) for name, process in nodes.items()}
    said = {name: engine.log(name).read_text() for name in NODES}
    assert codes == dict.fromkeys(NODES, 0), said
    for name in NODES:
        assert '"outcome": "finished"' in said[name]
        assert (engine.volume(name) / f"{name}.checkpoint").stat().st_uid == UID
    assert '"life": 2' in said["n1"]
    broker.terminate()
    assert broker.wait(timeout=10.0) == 0


def test_the_services_of_a_compose_file_run_as_written(hosts: Hosts, tmp_path: Path) -> None:
    out, dockerfile, wheel = made("compose", tmp_path)
    content = yaml.safe_load((out / "compose.yaml").read_text())
    engine = Engine(hosts, tmp_path, wheel=wheel)
    containers = {}
    try:
        for name, service in content["services"].items():
            engine.add(name, broker=name == "broker")
            mounts = [mounted(engine, out, text) for text in service["volumes"]]
            for secret in service.get("secrets", []):
                file = out / content["secrets"][secret]["file"]
                mounts.append(Mount(here=file, there=f"/run/secrets/{secret}", read_only=True))
            user, group = service["user"].split(":")
            words, variables = entry(dockerfile, service["build"]["target"])
            containers[name] = Container(
                name=name,
                words=[*words, *service["command"]],
                mounts=mounts,
                user=int(user),
                group=int(group),
                environment=variables,
            )
            assert service["read_only"]
            assert service["cap_drop"] == ["ALL"]

        def is_well(name: str) -> bool:
            kind, *words = content["services"][name]["healthcheck"]["test"]
            assert kind == "CMD"
            code, _ = engine.run(containers[name], words)
            return code == 0

        # Nobody is well before it runs: the checks can fail.
        assert not any(is_well(name) for name in containers)
        live_and_finish(engine, containers, is_well)
    finally:
        engine.stop()


def mounted(engine: Engine, out: Path, text: str) -> Mount:
    """One line of a service's `volumes`."""
    here, there, *mode = text.split(":")
    place = out / here if here.startswith(".") else engine.volume(here)
    return Mount(here=place.resolve(), there=there, read_only=mode == ["ro"])


def test_the_pods_of_a_kubernetes_file_run_as_written(hosts: Hosts, tmp_path: Path) -> None:
    out, dockerfile, wheel = made("kubernetes", tmp_path)
    objects = [
        each
        for file in ("secrets.yaml", "p2pfl.yaml")
        for each in yaml.safe_load_all((out / file).read_text())
    ]
    by_kind: dict[str, dict[str, Any]] = {}
    for each in objects:
        by_kind.setdefault(each["kind"], {})[each["metadata"]["name"]] = each
    engine = Engine(hosts, tmp_path, wheel=wheel)
    containers, pods = {}, {}
    try:
        for kind in ("StatefulSet", "Job"):
            for title, each in by_kind[kind].items():
                name = title.removeprefix("small-")
                engine.add(name, title, broker=kind == "StatefulSet")
                pod = each["spec"]["template"]["spec"]
                (pods[name],) = pod["containers"]
                words, variables = entry(dockerfile, "broker" if name == "broker" else "node")
                security = pod["securityContext"]
                containers[name] = Container(
                    name=name,
                    words=[*words, *pods[name]["args"]],
                    mounts=pod_mounts(engine, tmp_path, name, pod, by_kind),
                    user=security["runAsUser"],
                    group=security["fsGroup"],
                    environment=variables,
                )
                assert pods[name]["securityContext"]["readOnlyRootFilesystem"]

        def is_well(name: str) -> bool:
            probes = [each for key, each in pods[name].items() if key.endswith("Probe")]
            assert probes
            return all(answers(engine, name, pods[name], probe) for probe in probes)

        assert not any(is_well(name) for name in containers)
        live_and_finish(engine, containers, is_well)
    finally:
        engine.stop()


def pod_mounts(
    engine: Engine, folder: Path, name: str, pod: dict[str, Any], objects: dict[str, dict[str, Any]]
) -> list[Mount]:
    """A pod's volumes as folders, with the owner and mode that a kubelet gives them."""
    sources = {each["name"]: each for each in pod.get("volumes", [])}
    mounts = []
    for mount in pod["containers"][0]["volumeMounts"]:
        source = sources.get(mount["name"], {})
        if "emptyDir" in source:
            continue  # /tmp is empty anyway.
        if "configMap" in source or "secret" in source:
            mode = source.get("secret", {}).get("defaultMode", 0o644)
            texts: dict[str, str] = (
                objects["ConfigMap"][source["configMap"]["name"]]["data"]
                if "configMap" in source
                else objects["Secret"][source["secret"]["secretName"]]["stringData"]
            )
            here = folder / "mounts" / name / mount["name"]
            here.mkdir(parents=True)
            for file, text in texts.items():
                (here / file).write_text(text)
                os.chown(here / file, 0, pod["securityContext"]["fsGroup"])
                (here / file).chmod(mode)
        else:
            here = engine.volume(name)
        mounts.append(
            Mount(here=here, there=mount["mountPath"], read_only=bool(mount.get("readOnly", False)))
        )
    return mounts


def answers(engine: Engine, name: str, container: dict[str, Any], probe: dict[str, Any]) -> bool:
    """A probe, asked from another host, as a kubelet asks."""
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    asker = Container(name="n1" if name != "n1" else "n0", words=[], mounts=[])
    if "tcpSocket" in probe:
        place = f"{engine.address(name)}/{ports[probe['tcpSocket']['port']]}"
        code, _ = engine.run(asker, ["bash", "-c", f"exec 3<>/dev/tcp/{place}"])
        return code == 0
    get = probe["httpGet"]
    url = f"http://{engine.address(name)}:{ports[get['port']]}{get['path']}"
    program = f"import urllib.request; urllib.request.urlopen({url!r}, timeout=5)"
    code, _ = engine.run(asker, ["python3", "-c", program])
    return code == 0
