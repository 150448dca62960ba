"""`p2pfl broker`: the embedded broker alone, until Ctrl-C."""

import argparse
import asyncio
import contextlib
import signal
from typing import Final

from p2pfl.cli.say import say

ENGINES: Final = ("nats", "amqtt", "mosquitto")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be said of the broker."""
    parser.add_argument("--bind", metavar="ADDRESS", default="127.0.0.1", help="listen here")
    parser.add_argument("--port", type=int, default=1883, help="listen here; 0: any free port")
    parser.add_argument("--engine", choices=ENGINES, default="nats", help="which program serves")
    parser.add_argument(
        "--password-file", metavar="FILE", help="lines name:password; only these are let in"
    )
    parser.add_argument(
        "--allow-anonymous",
        action="store_true",
        help="let everybody in, even where other machines can reach the broker",
    )
    parser.add_argument(
        "--folder", metavar="FOLDER", help="keep what is retained here; default: forget at the end"
    )
    parser.add_argument("--tls-cert", metavar="FILE", help="certificate chain (PEM): serve mqtts")
    parser.add_argument("--tls-key", metavar="FILE", help="its key (PEM)")


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM. Raises ConfigError, TransportError."""
    return asyncio.run(_serve(arguments))


async def _serve(arguments: argparse.Namespace) -> int:
    from p2pfl.errors import ConfigError, TransportError
    from p2pfl.transport.broker import EmbeddedBroker, is_loopback

    if not (arguments.password_file or arguments.allow_anonymous or is_loopback(arguments.bind)):
        raise ConfigError(
            f"broker: other machines can reach {arguments.bind}: give --password-file FILE, or "
            "--allow-anonymous to let everybody in"
        )
    broker = EmbeddedBroker(
        arguments.engine,
        host=arguments.bind,
        port=arguments.port,
        folder=arguments.folder,
        password_file=arguments.password_file,
        tls_cert=arguments.tls_cert,
        tls_key=arguments.tls_key,
    )
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Windows has no such handlers; there Ctrl-C raises KeyboardInterrupt.
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with broker:
        text = f"{broker.url} ({arguments.engine}; Ctrl-C stops it)"
        say("listening", text, url=broker.url, engine=arguments.engine)
        ended = asyncio.create_task(broker.wait(), name="broker ended")
        told = asyncio.create_task(stop.wait(), name="broker stop")
        await asyncio.wait({ended, told}, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if ended.done():
            raise TransportError(f"broker ended with status {ended.result()}")
        ended.cancel()
    return 0
