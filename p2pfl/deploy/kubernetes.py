"""Objects for Kubernetes: a StatefulSet for the broker, a Job for each node, which has an end."""

from importlib import metadata
from typing import Any, Final

from p2pfl.deploy.broker_files import broker_files
from p2pfl.deploy.image import DISTRIBUTION, UID, image_files
from p2pfl.deploy.plan import BROKER_PORT, HEALTH_PORT, Files, Made, Plan, plain_name
from p2pfl.deploy.yaml import to_yaml
from p2pfl.errors import ConfigError
from p2pfl.exit_codes import ExitCode

ETC: Final = "/etc/p2pfl"
STATE: Final = "/var/lib/p2pfl"
SECRET: Final = "/run/secrets/p2pfl"  # noqa: S105 - a folder
DATA: Final = "/data"

_NAME_MAX: Final = 63
_CONFIG_MAP_BYTES_MAX: Final = 1_000_000
_RETRIES: Final = 100

Object = dict[str, Any]


def broker_name(plan: Plan) -> str:
    """The broker's service, by which the nodes know it."""
    return f"{plan.name}-broker"


def kubernetes_files(plan: Plan, *, registry: str = "") -> Files:
    """`secrets.yaml`, `p2pfl.yaml` and what the two images are made of.

    Raises:
        ConfigError: a name or the experiment is too long for Kubernetes.
    """
    image = f"{registry.rstrip('/')}/" if registry else ""
    version = metadata.version(DISTRIBUTION)
    made = broker_files(plan, there=ETC, state=STATE)
    brokers = {name: each.content.decode() for name, each in made.items()}
    secrets = [_secret(plan, broker_name(plan), brokers)]
    objects = [
        _config_map(plan, brokers["broker.pem"]),
        _service(plan),
        _network_policy(plan),
        _broker(plan, f"{image}p2pfl-broker:{version}"),
    ]
    for node in plan.nodes:
        name = _name(plan, node)
        secrets.append(_secret(plan, name, {"password": plan.passwords[node]}))
        objects += [_claim(plan, name), _job(plan, node, name, f"{image}p2pfl:{version}")]
    head = "# Made by `p2pfl deploy kubernetes`; docs/operation.md of p2pfl says how to use it.\n"
    return {
        "secrets.yaml": Made(content=(head + _documents(secrets)).encode(), secret=True),
        "p2pfl.yaml": Made(content=(head + _documents(objects)).encode()),
        **{f"image/{name}": each for name, each in image_files().items()},
    }


def _documents(objects: list[Object]) -> str:
    return "---\n".join(to_yaml(each) for each in objects)


def _name(plan: Plan, node: str) -> str:
    name = f"{plan.name}-{plain_name(node)}"
    if len(name) > _NAME_MAX:
        raise ConfigError(
            f"deploy: the object {name!r} has {len(name)} letters; Kubernetes allows {_NAME_MAX}:"
            " give the experiment or the node a shorter name"
        )
    return name


def _meta(plan: Plan, name: str, component: str) -> Object:
    return {"name": name, "labels": _labels(plan, component)}


def _labels(plan: Plan, component: str) -> Object:
    return {
        "app.kubernetes.io/name": "p2pfl",
        "app.kubernetes.io/instance": plan.name,
        "app.kubernetes.io/component": component,
    }


def _secret(plan: Plan, name: str, texts: dict[str, str]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _meta(plan, name, "secret"),
        "type": "Opaque",
        "stringData": texts,
    }


def _config_map(plan: Plan, certificate: str) -> Object:
    experiment = plan.experiment_toml(DATA if plan.data else "").decode()
    modules = {name: text.decode() for name, text in plan.modules.items()}
    texts = {"experiment.toml": experiment, "broker.pem": certificate, **modules}
    size = sum(len(text.encode()) for text in texts.values())
    if size > _CONFIG_MAP_BYTES_MAX:
        raise ConfigError(
            f"deploy: the experiment has {size} bytes, too many for a ConfigMap"
            f" ({_CONFIG_MAP_BYTES_MAX}); name the graph's family instead of its edges"
        )
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _meta(plan, f"{plan.name}-experiment", "experiment"),
        "data": texts,
    }


def _service(plan: Plan) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _meta(plan, broker_name(plan), "broker"),
        "spec": {
            "selector": _labels(plan, "broker"),
            "ports": [{"name": "mqtts", "port": BROKER_PORT, "targetPort": "mqtts"}],
        },
    }


def _network_policy(plan: Plan) -> Object:
    """Only this run's nodes reach the broker."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _meta(plan, broker_name(plan), "broker"),
        "spec": {
            "podSelector": {"matchLabels": _labels(plan, "broker")},
            "policyTypes": ["Ingress"],
            "ingress": [
                {
                    "from": [{"podSelector": {"matchLabels": _labels(plan, "node")}}],
                    "ports": [{"port": BROKER_PORT}],
                }
            ],
        },
    }


def _broker(plan: Plan, image: str) -> Object:
    container = {
        "name": "broker",
        "image": image,
        "args": ["-c", f"{ETC}/mosquitto.conf"],
        "ports": [{"name": "mqtts", "containerPort": BROKER_PORT}],
        "readinessProbe": {"tcpSocket": {"port": "mqtts"}, "periodSeconds": 10},
        "livenessProbe": {"tcpSocket": {"port": "mqtts"}, "periodSeconds": 30},
        "resources": _resources(0.5, 256 + 8 * len(plan.nodes)),
        "securityContext": _container_security(),
        "volumeMounts": [
            {"name": "files", "mountPath": ETC, "readOnly": True},
            {"name": "state", "mountPath": STATE},
        ],
    }
    volumes = [{"name": "files", "secret": {"secretName": broker_name(plan), "defaultMode": 0o440}}]
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": _meta(plan, broker_name(plan), "broker"),
        "spec": {
            "serviceName": broker_name(plan),
            "replicas": 1,
            "selector": {"matchLabels": _labels(plan, "broker")},
            "template": {
                "metadata": {"labels": _labels(plan, "broker")},
                "spec": {**_pod_security(), "containers": [container], "volumes": volumes},
            },
            "volumeClaimTemplates": [{"metadata": {"name": "state"}, "spec": _claimed()}],
        },
    }


def _claim(plan: Plan, name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _meta(plan, name, "node"),
        "spec": _claimed(),
    }


def _claimed() -> Object:
    return {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
    }


def _job(plan: Plan, node: str, name: str, image: str) -> Object:
    volumes: list[Object] = [
        {"name": "experiment", "configMap": {"name": f"{plan.name}-experiment"}},
        {"name": "secret", "secret": {"secretName": name, "defaultMode": 0o440}},
        {"name": "state", "persistentVolumeClaim": {"claimName": name}},
        {"name": "tmp", "emptyDir": {}},
    ]
    if plan.data:
        volumes.append({"name": "data", "hostPath": {"path": plan.data, "type": "Directory"}})
    in_vain = [int(ExitCode.USER), int(ExitCode.REFUSED)]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _meta(plan, name, "node"),
        "spec": {
            "backoffLimit": _RETRIES,
            "podFailurePolicy": {
                "rules": [
                    {"action": "FailJob", "onExitCodes": {"operator": "In", "values": in_vain}},
                    {
                        "action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                ]
            },
            "template": {
                "metadata": {
                    "labels": {**_labels(plan, "node"), "p2pfl/node": plain_name(node)},
                    "annotations": {
                        "prometheus.io/scrape": "true",
                        "prometheus.io/port": str(HEALTH_PORT),
                        "prometheus.io/path": "/metrics",
                    },
                },
                "spec": {
                    **_pod_security(),
                    # Each try is a pod of its own, so that its exit code counts.
                    "restartPolicy": "Never",
                    "terminationGracePeriodSeconds": 60,
                    "containers": [_node(plan, node, image)],
                    "volumes": volumes,
                },
            },
        },
    }


def _node(plan: Plan, node: str, image: str) -> Object:
    words = plan.node_words(node, folder=ETC, password_file=f"{SECRET}/password", checkpoints=STATE)
    mounts: list[Object] = [
        {"name": "experiment", "mountPath": ETC, "readOnly": True},
        {"name": "secret", "mountPath": SECRET, "readOnly": True},
        {"name": "state", "mountPath": STATE},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a container's own
    ]
    if plan.data:
        mounts.append({"name": "data", "mountPath": DATA, "readOnly": True})

    def probe(path: str, period_s: int, failures: int) -> Object:
        return {
            "httpGet": {"path": path, "port": "health"},
            "periodSeconds": period_s,
            "timeoutSeconds": 10,
            "failureThreshold": failures,
        }

    return {
        "name": "node",
        "image": image,
        "args": words,
        "ports": [{"name": "health", "containerPort": HEALTH_PORT}],
        "startupProbe": probe("/healthz/live", 5, 60),
        "livenessProbe": probe("/healthz/live", 30, 6),
        "readinessProbe": probe("/healthz/ready", 10, 3),
        "resources": _resources(plan.limits.cpus, plan.limits.memory_mb),
        "securityContext": _container_security(),
        "volumeMounts": mounts,
    }


def _resources(cpus: float, memory_mb: int) -> Object:
    asked = {"cpu": f"{round(1000 * cpus)}m", "memory": f"{memory_mb}Mi"}
    return {"requests": asked, "limits": asked}


def _pod_security() -> Object:
    return {
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": UID,
            "runAsGroup": UID,
            "fsGroup": UID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def _container_security() -> Object:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
