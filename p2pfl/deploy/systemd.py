"""Units for systemd: a folder for each machine, with what that machine needs and no more."""

from collections.abc import Mapping
from typing import Final

from p2pfl.deploy.broker_files import broker_files
from p2pfl.deploy.image import install_files
from p2pfl.deploy.plan import HEALTH_PORT, Files, Made, Plan, plain_name
from p2pfl.exit_codes import ExitCode

ETC: Final = "/etc/p2pfl"
PROGRAM: Final = "/usr/local/p2pfl/bin/p2pfl"
MOSQUITTO: Final = "/usr/sbin/mosquitto"

SYSTEMD_MIN: Final = 247
"""The first that hands secrets to units (LoadCredential): Debian 11, RHEL 9, Ubuntu 22.04."""

_SECRETS: Final = "${CREDENTIALS_DIRECTORY}"
"""Where a unit finds them. Its shorter name, %d, is known from 251 on only."""

_NEEDS: Final = f"# Needs systemd {SYSTEMD_MIN} or newer (LoadCredential).\n"

_HARDENED: Final = """\
DynamicUser=yes
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
PrivateTmp=yes
PrivateDevices=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictSUIDSGID=yes
LockPersonality=yes
CapabilityBoundingSet=
UMask=0077
"""


def unit_name(plan: Plan, what: str) -> str:
    """The unit of a node, or of `broker`, without its ending."""
    return f"p2pfl-{plan.name}-{plain_name(what)}"


def systemd_files(plan: Plan, *, program: str = PROGRAM, mosquitto: str = MOSQUITTO) -> Files:
    """`broker/` for the broker's machine, `NODE/` for each node's, and `install/` for all."""
    unit = unit_name(plan, "broker")
    brokers = broker_files(plan, there=f"/run/credentials/{unit}.service", state=_state(unit))
    files = {f"broker/{name}": made for name, made in brokers.items()}
    files[f"broker/{unit}.service"] = _made(_broker_unit(plan, unit, sorted(brokers), mosquitto))
    for number, node in enumerate(plan.nodes):
        files |= _node_files(plan, node, number, brokers["broker.pem"], program)
    files |= {f"install/{name}": made for name, made in install_files().items()}
    return files


def _node_files(
    plan: Plan, node: str, number: int, certificate: Made, program: str
) -> Mapping[str, Made]:
    unit = unit_name(plan, node)
    # Several nodes may share a machine.
    port = HEALTH_PORT + number
    password = f"{plan.passwords[node]}\n".encode()
    return {
        f"{node}/experiment.toml": Made(content=plan.experiment_toml(plan.data)),
        **{f"{node}/{name}": Made(content=text) for name, text in plan.modules.items()},
        f"{node}/broker.pem": certificate,
        f"{node}/password": Made(content=password, secret=True),
        f"{node}/{unit}.service": _made(_node_unit(plan, node, unit, port, program)),
        f"{node}/{unit}-health.service": _made(_health_unit(unit, port, program)),
        f"{node}/{unit}-health.timer": _made(_health_timer(unit)),
    }


def _broker_unit(plan: Plan, unit: str, names: list[str], mosquitto: str) -> str:
    files = "\n".join(f"LoadCredential={name}:{_etc(plan, 'broker')}/{name}" for name in names)
    return f"""\
{_NEEDS}[Unit]
Description=Broker of p2pfl run {plan.run}
Wants=network-online.target
After=network-online.target

[Service]
{files}
StateDirectory=p2pfl/{unit}
StateDirectoryMode=0700
ExecStart={mosquitto} -c {_SECRETS}/mosquitto.conf
Restart=always
RestartSec=2
MemoryMax={256 + 8 * len(plan.nodes)}M
CPUQuota=50%
TasksMax=64
LimitNOFILE=65536
{_HARDENED}
[Install]
WantedBy=multi-user.target
"""


def _node_unit(plan: Plan, node: str, unit: str, port: int, program: str) -> str:
    words = plan.node_words(
        node,
        folder=_etc(plan, node),
        password_file=f"{_SECRETS}/password",
        checkpoints=_state(unit),
        health=("127.0.0.1", port),
    )
    return f"""\
{_NEEDS}[Unit]
Description=Node {node} of p2pfl run {plan.run}
Wants=network-online.target {unit}-health.timer
After=network-online.target
StartLimitIntervalSec=0

[Service]
LoadCredential=password:{_etc(plan, node)}/password
StateDirectory=p2pfl/{unit}
StateDirectoryMode=0700
Environment=OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1 HOME=%T
ExecStart={program} {" ".join(words)}
ExecStartPost={program} health --port {port} --live --wait 60
Restart=on-failure
RestartSec=10
RestartPreventExitStatus={int(ExitCode.USER)} {int(ExitCode.REFUSED)}
SuccessExitStatus={int(ExitCode.TERMINATED)}
TimeoutStartSec=120
TimeoutStopSec=60
MemoryMax={plan.limits.memory_mb}M
CPUQuota={round(100 * plan.limits.cpus)}%
TasksMax=256
{_HARDENED}
[Install]
WantedBy=multi-user.target
"""


def _health_unit(unit: str, port: int, program: str) -> str:
    """A node that no longer answers is started anew, from its checkpoint."""
    return f"""\
[Unit]
Description=Does {unit} still answer?

[Service]
Type=oneshot
ExecCondition=/usr/bin/systemctl is-active --quiet {unit}.service
ExecStart=/bin/sh -c '{program} health --port {port} --live --wait 60 || systemctl restart {unit}'
"""


def _health_timer(unit: str) -> str:
    return f"""\
[Unit]
Description=Asks each minute whether {unit} still answers

[Timer]
OnActiveSec=2min
OnUnitInactiveSec=1min
"""


def _etc(plan: Plan, what: str) -> str:
    return f"{ETC}/{plan.name}/{what}"


def _state(unit: str) -> str:
    return f"/var/lib/p2pfl/{unit}"


def _made(text: str) -> Made:
    return Made(content=text.encode())
