"""A gateway whose answers get lost: they are on their way, and the connection breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.kit.connections import serving

__all__ = ["CutConnections", "losing_answers"]

FRAME_HEAD = 9
HEADERS = 0x1
"""The first frame of an answer (RFC 9113, 6.2)."""


class CutConnections:
    """Forwards bytes to a port, and cuts the first N connections before their first response."""

    def __init__(self, port: int, times: int) -> None:
        self._port = port
        self._open: set[asyncio.StreamWriter] = set()
        self.left = times
        self.target = ""

    def break_all(self) -> None:
        """Break the connections that are open now."""
        for writer in self._open:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what comes in both directions until one of them ends."""
        theirs, ours = await asyncio.open_connection("127.0.0.1", self._port)
        self._open |= {writer, ours}
        both = [
            asyncio.create_task(_pass_on(reader, ours)),
            asyncio.create_task(self._answers(theirs, writer)),
        ]
        try:
            ended, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for one in ended:
                one.result()
        finally:
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            ours.close()
            writer.transport.abort()
            self._open -= {writer, ours}

    async def _answers(self, theirs: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _exactly(theirs, FRAME_HEAD):
            rest = await _exactly(theirs, int.from_bytes(head[:3]))
            if head[3] == HEADERS and self.left > 0:
                self.left -= 1
                return
            writer.write(head + rest)
            await writer.drain()


@asynccontextmanager
async def losing_answers(port: int, times: int = 1) -> AsyncIterator[CutConnections]:
    """Stand before a gateway for the block, at `target`."""
    cut = CutConnections(port, times)
    async with serving(cut.serve) as url:
        cut.target = url.removeprefix("http://")
        yield cut
        assert cut.left == 0, "no answer was lost"


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def _exactly(reader: asyncio.StreamReader, count: int) -> bytes:
    """Return up to this number of bytes, or none at the end."""
    try:
        return await reader.readexactly(count)
    except asyncio.IncompleteReadError:
        return b""
