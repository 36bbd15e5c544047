"""What Clarion depends on in the drill: a mail server and a webhook receiver, which can fail."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from contextlib import suppress

from ...process import free_port

__all__ = ["PASSWORD", "USER", "MailServer", "Receiver"]

USER, PASSWORD = "night", "correct"
Streams = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class _Listener:
    """A server on a port of the loopback, which can be closed and opened again."""

    def __init__(self, serve: Streams) -> None:
        self.port = free_port()
        self._serve = serve
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Accept connections."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)

    def close(self) -> None:
        """Refuse connections, and cut those that are open."""
        if self._server:
            self._server.close()
        for writer in self._open:
            writer.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._serve(reader, writer)
        finally:
            self._open.discard(writer)
            writer.close()


class MailServer:
    """Accepts every mail after a login.

    Attributes:
        password: The password that it accepts.
        seconds: How long it takes to reply to a mail.
    """

    def __init__(self) -> None:
        self.listener = _Listener(self._serve)
        self.password = PASSWORD
        self.seconds = 0.0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reply = "220 night ESMTP"
        while reply:
            writer.write(f"{reply}\r\n".encode())
            await writer.drain()
            if reply.startswith("354"):
                await reader.readuntil(b"\r\n.\r\n")
                await asyncio.sleep(self.seconds)
                reply = "250 2.0.0 Ok: queued"
            else:
                reply = self._reply_to((await reader.readline()).decode().strip())

    def _reply_to(self, line: str) -> str:
        verb, _, rest = line.partition(" ")
        match verb.upper():
            case "EHLO":
                return "250-night\r\n250 AUTH PLAIN"
            case "AUTH":
                given = base64.b64decode(rest.partition(" ")[2]).decode().rpartition("\0")[2]
                right = given == self.password
                return "235 2.7.0 ok" if right else "535 5.7.8 Authentication credentials invalid"
            case "DATA":
                return "354 go on"
            case "QUIT" | "":
                return ""
        return "250 2.0.0 Ok"


class Receiver:
    """Accepts every webhook message."""

    def __init__(self) -> None:
        self.listener = _Listener(self._serve)

    @property
    def url(self) -> str:
        """Where it receives messages."""
        return f"http://127.0.0.1:{self.listener.port}/hook"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := (await reader.readuntil(b"\r\n\r\n")).lower():
            length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            await writer.drain()
