"""The broker's own files: Mosquitto with TLS, a password and access rules for each node."""

from p2pfl.deploy.access import access_rules
from p2pfl.deploy.plan import BROKER_PORT, Files, Made, Plan, certificate_of, hashed_password

PACKET_BYTES_MAX = 2 * 1024 * 1024
"""Twice our largest packet of 1,000,000 bytes."""


def broker_files(plan: Plan, *, there: str, state: str) -> Files:
    """Configuration, access rules, passwords, certificate and key.

    `there`: the folder in which the broker finds them; `state`: where it keeps what is retained.
    """
    certificate, key = certificate_of(plan.broker)
    passwords = "".join(f"{node}:{hashed_password(plan.passwords[node])}\n" for node in plan.nodes)
    return {
        "mosquitto.conf": Made(content=_configuration(plan, there, state).encode()),
        "acl": Made(content=access_rules(plan.experiment, plan.run).encode()),
        "passwords": Made(content=passwords.encode(), secret=True),
        "broker.pem": Made(content=certificate),
        "broker.key": Made(content=key, secret=True),
    }


def _configuration(plan: Plan, there: str, state: str) -> str:
    # A node has one connection, and a short one more while it takes its place.
    connections = 4 * len(plan.nodes) + 16
    return f"""\
# The broker of run {plan.run}.
listener {BROKER_PORT}
certfile {there}/broker.pem
keyfile {there}/broker.key
tls_version tlsv1.2
allow_anonymous false
password_file {there}/passwords
acl_file {there}/acl
persistence true
persistence_location {state}/
autosave_interval 30
set_tcp_nodelay true
max_connections {connections}
max_queued_messages 1000
max_packet_size {PACKET_BYTES_MAX}
log_dest stderr
log_type error
log_type warning
log_type notice
"""
