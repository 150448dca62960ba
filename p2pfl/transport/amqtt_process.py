"""The amqtt broker as a process of its own: `python -m p2pfl.transport.amqtt_process FILE`."""

import asyncio
import hmac
import json
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amqtt.broker import Broker
from amqtt.plugins.base import BaseAuthPlugin
from amqtt.session import Session


class PasswordPlugin(BaseAuthPlugin):  # type: ignore[misc]  # amqtt ships no types.
    """Lets in who names a known user and its password."""

    @dataclass
    class Config:
        """Names and passwords."""

        users: dict[str, str] = field(default_factory=dict)

    async def authenticate(self, *, session: Session) -> bool:
        """Whether the session's password is its user's."""
        known = self.config.users.get(session.username or "")
        return known is not None and hmac.compare_digest(
            known.encode(), str(session.password or "").encode()
        )


def configuration(settings: dict[str, Any]) -> dict[str, Any]:
    """Our settings as amqtt's."""
    listener: dict[str, Any] = {
        "type": "tcp",
        "bind": f"{settings['host']}:{settings['port']}",
        "max_connections": 4096,
    }
    if settings["certfile"]:
        listener |= {
            "ssl": True,
            "certfile": settings["certfile"],
            "keyfile": settings["keyfile"],
        }
    if settings["users"]:
        # By its full name: `__main__` has the module under another.
        plugin = "p2pfl.transport.amqtt_process.PasswordPlugin"
        plugins = {plugin: {"users": settings["users"]}}
    else:
        plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    return {"listeners": {"default": listener}, "plugins": plugins}


async def serve(settings: dict[str, Any]) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    broker = Broker(configuration(settings))
    await broker.start()
    await stop.wait()
    await broker.shutdown()


def main() -> None:
    """Serve what the file named by the first argument says."""
    asyncio.run(serve(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
