"""The files of each kind of deployment, against their public schemas, and what they keep secret."""

import base64
import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from p2pfl.cli.main import main
from p2pfl.config.load import load_config
from p2pfl.deploy.image import install_files, wheel_name
from p2pfl.deploy.plan import hashed_password
from p2pfl.experiment import load_experiment

TEXT = """
name = "Small_one"
data = { kind = "quadratic", dimension = 10 }
model = "quadratic"
topology = { kind = "path", nodes = 3 }
training = { learning_rate = 0.02, local_steps = 2 }
stop = { steps = 10 }
health = { port = 9100 }
"""
KUBERNETES = "1.32"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(TEXT)
    return path


def deploy(kind: str, file: Path, out: Path, *words: str) -> None:
    host = ("--host", "broker.example") if kind == "systemd" else ()
    assert main(["deploy", kind, str(file), "--out", str(out), *host, *words]) == 0


def validated(file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "check_jsonschema"),
            *("--builtin-schema", "vendor.compose-spec", str(file)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def objects(file: Path) -> Iterator[dict[str, Any]]:
    yield from yaml.safe_load_all(file.read_text())


def test_compose_is_valid_by_the_compose_specification(file: Path, tmp_path: Path) -> None:
    deploy("compose", file, tmp_path / "out", "--data", "/srv/data")
    made = tmp_path / "out" / "compose.yaml"
    done = validated(made)
    assert done.returncode == 0, done.stdout
    broken = tmp_path / "broken.yaml"
    broken.write_text(made.read_text().replace("restart: on-failure", "restarts: on-failure"))
    assert validated(broken).returncode != 0


def test_compose_has_a_service_for_each_node_that_restarts_and_is_asked_how_it_is(
    file: Path, tmp_path: Path
) -> None:
    deploy("compose", file, tmp_path / "out", "--cpus", "1.5", "--memory-mb", "3000")
    content = yaml.safe_load((tmp_path / "out" / "compose.yaml").read_text())
    services = content["services"]
    assert list(services) == ["broker", "n0", "n1", "n2"]
    for name in ("n0", "n1", "n2"):
        service = services[name]
        assert service["healthcheck"]["test"] == ["CMD", "p2pfl", "health", "--port", "9464"]
        assert service["restart"] == "on-failure"
        assert service["deploy"]["resources"]["limits"]["cpus"] == "1.5"
        assert service["deploy"]["resources"]["limits"]["memory"] == "3000M"
        assert f"{name}:/var/lib/p2pfl" in service["volumes"]
        assert service["secrets"] == [name]
        assert not service["user"].startswith("0:")
        assert ("--create-run" in service["command"]) is (name == "n0")
    paths = [secret["file"] for secret in content["secrets"].values()]
    paths += [f"{v.split(':')[0]}" for s in services.values() for v in s["volumes"] if "./" in v]
    assert all((tmp_path / "out" / path).exists() for path in paths)


def test_kubernetes_objects_are_valid_by_its_schemas(file: Path, tmp_path: Path) -> None:
    deploy(
        "kubernetes", file, tmp_path / "out", "--data", "/srv/data", "--registry", "reg.example/x"
    )
    secrets = list(objects(tmp_path / "out" / "secrets.yaml"))
    others = list(objects(tmp_path / "out" / "p2pfl.yaml"))
    for each in (*secrets, *others):
        kubernetes_validate.validate(each, KUBERNETES, strict=True)
    assert [each["kind"] for each in secrets] == ["Secret"] * 4
    kinds = [each["kind"] for each in others]
    assert kinds.count("Job") == kinds.count("PersistentVolumeClaim") == 3
    assert {"ConfigMap", "Service", "StatefulSet", "NetworkPolicy"} <= set(kinds)
    job = next(each for each in others if each["kind"] == "Job")
    del job["spec"]["template"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, KUBERNETES, strict=True)


def test_kubernetes_asks_nodes_how_they_are_and_gives_up_where_trying_again_is_in_vain(
    file: Path, tmp_path: Path
) -> None:
    deploy("kubernetes", file, tmp_path / "out")
    found = list(objects(tmp_path / "out" / "p2pfl.yaml"))
    names = {(each["kind"], each["metadata"]["name"]) for each in found}
    secrets = {each["metadata"]["name"] for each in objects(tmp_path / "out" / "secrets.yaml")}
    for job in (each for each in found if each["kind"] == "Job"):
        pod = job["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz/live"
        assert container["readinessProbe"]["httpGet"]["path"] == "/healthz/ready"
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert pod["securityContext"]["runAsNonRoot"] is True
        rule = job["spec"]["podFailurePolicy"]["rules"][0]
        assert rule == {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [2, 4]}}
        for volume in pod["volumes"]:
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in names
            if "secret" in volume:
                assert volume["secret"]["secretName"] in secrets
            if "persistentVolumeClaim" in volume:
                claim = volume["persistentVolumeClaim"]["claimName"]
                assert ("PersistentVolumeClaim", claim) in names


def test_the_experiment_of_a_deployment_is_the_same_everywhere_and_has_no_path_of_this_machine(
    file: Path, tmp_path: Path
) -> None:
    for kind in ("compose", "kubernetes", "systemd"):
        deploy(kind, file, tmp_path / kind)
    (config_map,) = (
        each
        for each in objects(tmp_path / "kubernetes" / "p2pfl.yaml")
        if each["kind"] == "ConfigMap"
    )
    texts = {
        (tmp_path / "compose" / "experiment" / "experiment.toml").read_text(),
        config_map["data"]["experiment.toml"],
        *((tmp_path / "systemd" / node / "experiment.toml").read_text() for node in ("n0", "n2")),
    }
    assert len(texts) == 1
    assert str(tmp_path) not in texts.pop()
    config = load_config(tmp_path / "systemd" / "n1" / "experiment.toml")
    assert config.health.port is None
    assert (
        load_experiment(file).digest
        == load_experiment(tmp_path / "systemd" / "n1" / "experiment.toml").digest
    )


@pytest.mark.parametrize("kind", ["compose", "kubernetes", "systemd"])
def test_secrets_are_for_their_owner_alone_never_shown_and_never_the_same_twice(
    kind: str, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for out in (tmp_path / "one", tmp_path / "two"):
        deploy(kind, file, out)
        if kind == "kubernetes":
            words = [
                each["stringData"]["password"]
                for each in objects(out / "secrets.yaml")
                if "password" in each["stringData"]
            ]
        else:
            words = [each.read_text().strip() for each in sorted(out.rglob("*password"))]
        assert len(words) == 3
        found += words
        for path in (each for each in out.rglob("*") if each.is_file()):
            content = path.read_bytes()
            holds = any(word.encode() in content for word in words) or b"PRIVATE KEY" in content
            assert (path.stat().st_mode & 0o777) == (
                0o600 if holds or path.name == "passwords" else 0o644
            ), path
    assert len(set(found)) == 6
    shown = capsys.readouterr()
    assert not any(word in shown.out + shown.err for word in found)


def test_a_folder_with_something_in_it_is_left_alone(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deploy("systemd", file, tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    words = ["deploy", "systemd", str(file), "--host", "x", "--out", str(tmp_path / "out")]
    assert main(words) == 2
    assert "is not empty" in capsys.readouterr().err
    after = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert before == after


GRAPH = 'kind = "path", nodes = 3'
EDGES = 'kind = "edges", edges = [["{}", "{}"]]'


@pytest.mark.parametrize(
    ("kind", "change", "reason"),
    [
        ("systemd", ("", ""), "give --host NAME"),
        ("compose", (GRAPH, EDGES.format("broker", "a")), '"broker"'),
        ("compose", (GRAPH, EDGES.format("a_1", "A-1")), "capitals"),
        ("compose", ('model = "quadratic"', 'model = "own:make"'), "own.py"),
        ("kubernetes", (GRAPH, EDGES.format("a" * 60, "b")), "63"),
    ],
)
def test_what_cannot_be_deployed_is_one_line(
    kind: str,
    change: tuple[str, str],
    reason: str,
    file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = TEXT.replace(*change)
    if "own:make" in text:
        text = text.replace('data = { kind = "quadratic", dimension = 10 }', 'data = "digits"')
    file.write_text(text)
    code = main(["deploy", kind, str(file), "--out", str(tmp_path / "out")])
    assert (code, reason in capsys.readouterr().err) == (2, True)


def test_a_module_of_the_users_goes_along(file: Path, tmp_path: Path) -> None:
    text = TEXT.replace('data = { kind = "quadratic", dimension = 10 }', 'data = "digits"')
    file.write_text(text.replace('model = "quadratic"', 'model = "own:make"'))
    (tmp_path / "own.py").write_text("def make():\n    return None\n")
    for kind, where in (("compose", "experiment"), ("systemd", "n1")):
        deploy(kind, file, tmp_path / kind)
        assert (tmp_path / kind / where / "own.py").is_file()


def test_the_wheel_holds_this_p2pfl_and_installs(tmp_path: Path) -> None:
    files = install_files()
    assert files == install_files()
    wheel = tmp_path / wheel_name()
    wheel.write_bytes(files[wheel_name()].content)
    target = tmp_path / "there"
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*pip, "--target", str(target), str(wheel)], check=True, capture_output=True)
    program = "import p2pfl; from p2pfl.cli.main import main; print(p2pfl.__file__); main(['help'])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(target)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[0] == str(target / "p2pfl" / "__init__.py")
    with zipfile.ZipFile(BytesIO(files[wheel_name()].content)) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith("METADATA"))
        needs = archive.read(name).decode()
    assert "Requires-Dist: torch" in needs
    assert "Requires-Dist: prometheus-client" in needs
    assert "extra ==" not in needs


def test_the_constraints_pin_all_that_the_wheel_needs() -> None:
    lines = install_files()["constraints.txt"].content.decode().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert {"torch", "numpy", "aiomqtt", "paho-mqtt", "prometheus-client", "cryptography"} <= set(
        pins
    )
    assert not [version for version in pins.values() if "+" in version]
    assert "pytest" not in pins


def test_a_hashed_password_is_as_mosquitto_reads_it() -> None:
    first, second = hashed_password("secret"), hashed_password("secret")
    assert first != second
    empty, kind, rounds, salt, key = first.split("$")
    assert (empty, kind, int(rounds)) == ("", "7", 101)
    raw = hashlib.pbkdf2_hmac("sha512", b"secret", base64.b64decode(salt), 101)
    assert raw == base64.b64decode(key)
