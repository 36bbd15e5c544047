"""A database that is far away: delays every byte between a client and PostgreSQL's socket."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

__all__ = ["distant"]

_SOCKET = ".s.PGSQL.5432"
_READ = 65536


@asynccontextmanager
async def distant(sockets: Path, round_trip: float) -> AsyncIterator[str]:
    """Provide PostgreSQL's socket in another folder for the block, with a delay; return the database's URL.

    Args:
        sockets: The folder of the real socket.
        round_trip: Seconds, half of them in each direction.
    """
    carriers: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_unix_connection(str(sockets / _SOCKET))
        for source, target in ((reader, ours), (theirs, writer)):
            task = asyncio.create_task(_carry(source, target, round_trip / 2))
            carriers.add(task)
            task.add_done_callback(carriers.discard)

    with tempfile.TemporaryDirectory(prefix="clarion-far-") as folder:
        server = await asyncio.start_unix_server(serve, f"{folder}/{_SOCKET}")
        try:
            yield f"postgresql://clarion@/clarion?host={folder}"
        finally:
            server.close()
            for task in carriers:
                task.cancel()


async def _carry(source: asyncio.StreamReader, target: asyncio.StreamWriter, delay: float) -> None:
    """Pass bytes on, each part `delay` seconds after it arrived; parts do not wait for each other."""
    clock = asyncio.get_running_loop().time
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            due, part = await under_way.get()
            await asyncio.sleep(due - clock())
            if not part:
                target.close()
                return
            target.write(part)

    delivery = asyncio.create_task(deliver())
    part = b"-"
    while part:
        part = b""
        with suppress(ConnectionError):
            part = await source.read(_READ)
        under_way.put_nowait((clock() + delay, part))
    await delivery
