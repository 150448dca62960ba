"""Files for `docker compose`: one service for the broker, one for each node, on one machine."""

from importlib import metadata
from typing import Final

from p2pfl.deploy.broker_files import broker_files
from p2pfl.deploy.image import DISTRIBUTION, image_files
from p2pfl.deploy.plan import BROKER_PORT, HEALTH_PORT, Files, Made, Plan
from p2pfl.deploy.yaml import to_yaml

ETC: Final = "/etc/p2pfl"
STATE: Final = "/var/lib/p2pfl"
DATA: Final = "/data"

HARDENED: Final = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "tmpfs": ["/tmp"],  # noqa: S108 - a container's own
    "init": True,
}
LOGGING: Final = {"driver": "json-file", "options": {"max-size": "10m", "max-file": "5"}}


def compose_files(plan: Plan, *, uid: int, gid: int) -> Files:
    """Everything for `docker compose up`; containers run as the user who owns the secrets."""
    user = f"{uid}:{gid}"
    version = metadata.version(DISTRIBUTION)
    built = {"context": "image", "args": {"UID": str(uid)}}
    compose = {
        "name": plan.name,
        "services": {
            "broker": _broker(plan, user, {**built, "target": "broker"}, version),
            **{
                node: _node(plan, node, user, {**built, "target": "node"}, version)
                for node in plan.nodes
            },
        },
        "volumes": {name: {} for name in ("broker", *plan.nodes)},
        "secrets": {node: {"file": f"secrets/{node}.password"} for node in plan.nodes},
    }
    head = "# Made by `p2pfl deploy compose`; docs/operation.md of p2pfl says how to use it.\n"
    files: Files = {"compose.yaml": Made(content=(head + to_yaml(compose)).encode())}
    brokers = broker_files(plan, there=ETC, state=STATE)
    files |= {f"broker/{name}": made for name, made in brokers.items()}
    files |= {f"image/{name}": made for name, made in image_files().items()}
    files["experiment/experiment.toml"] = Made(
        content=plan.experiment_toml(DATA if plan.data else "")
    )
    files["experiment/broker.pem"] = brokers["broker.pem"]
    files |= {f"experiment/{name}": Made(content=text) for name, text in plan.modules.items()}
    for node, password in plan.passwords.items():
        files[f"secrets/{node}.password"] = Made(content=f"{password}\n".encode(), secret=True)
    return files


def _broker(plan: Plan, user: str, build: object, version: str) -> dict[str, object]:
    return {
        "image": f"p2pfl-broker:{version}",
        "build": build,
        "user": user,
        "command": ["-c", f"{ETC}/mosquitto.conf"],
        "volumes": [f"./broker:{ETC}:ro", f"broker:{STATE}"],
        "healthcheck": {
            # The image has no MQTT client: does it listen?
            "test": ["CMD", "bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{BROKER_PORT}"],
            "interval": "30s",
            "timeout": "5s",
            "start_period": "10s",
            "start_interval": "1s",
        },
        "restart": "unless-stopped",
        "stop_grace_period": "30s",
        **_limited(0.5, 256 + 8 * len(plan.nodes)),
        **HARDENED,
        "logging": LOGGING,
    }


def _node(plan: Plan, node: str, user: str, build: object, version: str) -> dict[str, object]:
    words = plan.node_words(
        node, folder=ETC, password_file=f"/run/secrets/{node}", checkpoints=STATE
    )
    data = [f"{plan.data}:{DATA}:ro"] if plan.data else []
    return {
        "image": f"p2pfl:{version}",
        "build": build,
        "user": user,
        "command": words,
        "depends_on": {"broker": {"condition": "service_healthy"}},
        "secrets": [node],
        "volumes": [f"./experiment:{ETC}:ro", f"{node}:{STATE}", *data],
        "expose": [str(HEALTH_PORT)],
        "healthcheck": {
            "test": ["CMD", "p2pfl", "health", "--port", str(HEALTH_PORT)],
            "interval": "30s",
            "timeout": "10s",
            "start_period": "120s",
        },
        "restart": "on-failure",
        "stop_grace_period": "60s",
        **_limited(plan.limits.cpus, plan.limits.memory_mb),
        **HARDENED,
        "logging": LOGGING,
    }


def _limited(cpus: float, memory_mb: int) -> dict[str, object]:
    limits = {"cpus": f"{cpus:g}", "memory": f"{memory_mb}M", "pids": 256}
    return {"deploy": {"resources": {"limits": limits}}}
