"""A network that can break between a client and PostgreSQL's socket, without ending any connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

__all__ = ["SilentProxy", "silent_proxy"]


class SilentProxy:
    """Forwards bytes while `open` is set; otherwise it keeps connections, and their bytes, forever."""

    def __init__(self, target: Path) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.port = 0
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect a client to the target."""
        await self.open.wait()
        theirs, ours = await asyncio.open_unix_connection(str(self._target))
        for source, sink in ((reader, ours), (theirs, writer)):
            task = asyncio.create_task(self._forward(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _forward(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self.open.wait()
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            pass  # the client gave up
        finally:
            sink.close()

    def close(self) -> None:
        """End all connections."""
        for task in self._tasks:
            task.cancel()


@asynccontextmanager
async def silent_proxy(target: Path) -> AsyncIterator[SilentProxy]:
    """Run a proxy in front of a Unix socket for the block."""
    proxy = SilentProxy(target)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        proxy.open.set()
        server.close()
        proxy.close()
