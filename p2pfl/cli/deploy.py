"""`p2pfl deploy compose|kubernetes|systemd FILE`: ready files for a broker and all nodes."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from p2pfl.cli.arguments import add_experiment_arguments, read_experiment
from p2pfl.errors import ConfigError

if TYPE_CHECKING:
    from p2pfl.deploy.plan import Files, Plan

KINDS: Final = ("compose", "kubernetes", "systemd")

_NEXT: Final = {
    "compose": """\
docker compose -f {out}/compose.yaml up --build --detach
docker compose -f {out}/compose.yaml ps
docker compose -f {out}/compose.yaml logs --follow""",
    "kubernetes": """\
docker build --target node -t {registry}p2pfl:{version} {out}/image      # then docker push
docker build --target broker -t {registry}p2pfl-broker:{version} {out}/image
kubectl apply -f {out}/secrets.yaml -f {out}/p2pfl.yaml
kubectl get pods -l app.kubernetes.io/instance={name}""",
    "systemd": """\
# to each machine its own node, to one of them broker/ too:
scp -r {out}/install {out}/NODE root@MACHINE:
python3 -m venv /usr/local/p2pfl
/usr/local/p2pfl/bin/pip install -c install/constraints.txt install/*.whl
mkdir -p /etc/p2pfl/{name} && cp -r NODE /etc/p2pfl/{name}/
cp NODE/p2pfl-* /etc/systemd/system/
systemctl daemon-reload && systemctl enable --now p2pfl-{name}-NODE""",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which kind of files, of what, where to, and what the machines are like."""
    parser.add_argument("kind", choices=KINDS, help="for whom the files are")
    add_experiment_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="a new folder")
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name or address of the broker's machine (systemd: needed; may be repeated)",
    )
    parser.add_argument(
        "--data", default="", metavar="FOLDER", help="where the data lies on the machines"
    )
    parser.add_argument("--cpus", type=float, default=1.0, metavar="N", help="of each node")
    parser.add_argument("--memory-mb", type=int, default=2048, metavar="N", help="of each node")
    parser.add_argument(
        "--registry", default="", metavar="NAME", help="kubernetes: where the images are"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the files and say what to do with them; secrets are written, and never shown.

    Raises:
        ConfigError: the experiment or a name is wrong, or the folder is not empty.
    """
    from importlib import metadata

    from p2pfl.deploy.plan import Limits, make_plan
    from p2pfl.deploy.write import write_files

    if arguments.cpus <= 0.0 or arguments.memory_mb <= 0:
        raise ConfigError("--cpus and --memory-mb: allowed: above 0")
    experiment = read_experiment(arguments)
    plan = make_plan(
        experiment,
        broker=_broker_names(arguments, experiment.config.name),
        limits=Limits(cpus=arguments.cpus, memory_mb=arguments.memory_mb),
        data=arguments.data and str(Path(arguments.data).absolute()),
    )
    files, owner = _files(arguments, plan)
    write_files(files, arguments.out, owner=owner)
    secret = sum(made.secret for made in files.values())
    registry = f"{arguments.registry.rstrip('/')}/" if arguments.registry else ""
    version = metadata.version("p2pfl-gossip")
    commands = _NEXT[arguments.kind].format(
        out=arguments.out, name=plan.name, registry=registry, version=version
    )
    sys.stdout.write(
        f"{len(files)} files in {arguments.out} for run {plan.run}, {len(plan.nodes)} nodes and"
        f" their broker; {secret} of them are secret (mode 0600). Next:\n\n{commands}\n"
    )
    return 0


def _broker_names(arguments: argparse.Namespace, name: str) -> list[str]:
    from p2pfl.deploy.plan import plain_name

    hosts: list[str] = arguments.host
    if arguments.kind == "systemd":
        if not hosts:
            raise ConfigError("deploy systemd: on which machine is the broker? give --host NAME")
        return hosts
    if arguments.kind == "compose":
        return ["broker", "localhost", "127.0.0.1", *hosts]
    return [f"{plain_name(name)}-broker", *hosts]


def _files(arguments: argparse.Namespace, plan: "Plan") -> "tuple[Files, tuple[int, int] | None]":
    if arguments.kind == "kubernetes":
        from p2pfl.deploy.kubernetes import kubernetes_files

        return kubernetes_files(plan, registry=arguments.registry), None
    if arguments.kind == "systemd":
        from p2pfl.deploy.systemd import systemd_files

        return systemd_files(plan), None
    from p2pfl.deploy.compose import compose_files
    from p2pfl.deploy.image import UID

    # Containers read the secrets as the user who owns them; nobody's container runs as root.
    uid, gid = os.getuid(), os.getgid()
    owner = None if uid else (UID, UID)
    uid, gid = owner or (uid, gid)
    return compose_files(plan, uid=uid, gid=gid), owner
