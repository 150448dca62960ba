"""A TCP forwarder that delays, and now and then stalls as after a lost packet.

python slow_link.py LISTEN_HOST:PORT TARGET_HOST:PORT DELAY_S LOSS: where the kernel has no netem.
"""

import asyncio
import contextlib
import random
import sys
from typing import Final

RETRANSMIT_S: Final = 0.2
"""What a lost segment costs a TCP connection (the least retransmission timeout of Linux)."""

_SEGMENT: Final = 1448


async def pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, delay_s: float, loss: float
) -> None:
    """Hand on in order, each piece `delay_s` after it came, or later where a segment was lost."""
    loop, chance = asyncio.get_running_loop(), random.Random(0)
    pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)

    async def hand_on() -> None:
        while True:
            due_s, data = await pieces.get()
            await asyncio.sleep(due_s - loop.time())
            if not data:
                writer.close()
                return
            writer.write(data)
            await writer.drain()

    task = asyncio.create_task(hand_on())
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            segments = -(-len(data) // _SEGMENT)
            lost = chance.random() > (1.0 - loss) ** segments
            await pieces.put((loop.time() + delay_s + lost * RETRANSMIT_S, data))
    await pieces.put((loop.time() + delay_s, b""))
    with contextlib.suppress(OSError):
        await task


async def main(listen: str, target: str, delay_s: float, loss: float) -> None:
    """Serve until killed."""
    host, _, port = target.rpartition(":")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.close()
            return
        await asyncio.gather(
            pump(reader, up_writer, delay_s=delay_s, loss=loss),
            pump(up_reader, writer, delay_s=delay_s, loss=loss),
        )

    own_host, _, own_port = listen.rpartition(":")
    server = await asyncio.start_server(serve, own_host, int(own_port))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])))
