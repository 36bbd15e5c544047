"""SMTP connections, used again while they are fresh."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import cast

import aiosmtplib

from .smtp_errors import CLOSING, Stage

__all__ = ["Connection", "Pool"]


class Connection:
    """One connection, which carries one message at a time."""

    def __init__(self, client: aiosmtplib.SMTP) -> None:
        self._client = client
        self._unclean = False
        self.carried = 0
        self.last_used = 0.0
        self.stage = Stage.CONNECT

    @property
    def is_open(self) -> bool:
        """Whether the server has not closed it, as far as we know."""
        return self._client.is_connected

    async def carry(self, sender: str, recipient: str, content: bytes) -> str:
        """Send a message and return the server's last words. `stage` tells how far it came."""
        self.stage = Stage.CONNECT
        self.carried += 1
        if not self._client.is_connected:
            await self._client.connect()
        if self._unclean:
            await self._client.rset()
            self._unclean = False
        self.stage = Stage.SENDER
        await self._client.mail(sender)
        self.stage = Stage.RECIPIENT
        await self._client.rcpt(recipient)
        self.stage = Stage.CONTENT
        return (await self._client.data(content)).message

    def refused(self, error: Exception) -> None:
        """Note what a failed `carry` means for the connection: it can go on after a refusal."""
        code = getattr(error, "code", 0)
        if isinstance(error, aiosmtplib.SMTPResponseException) and code > 0 and code != CLOSING:
            self._unclean = True
        else:
            self.abort()

    def abort(self) -> None:
        """Cut it off. What is still in the buffer must not leave after the send was given up."""
        if self._client.transport is not None:
            cast("asyncio.WriteTransport", self._client.transport).abort()
        self._client.close()

    def close(self) -> None:
        """Close an idle connection, without waiting for the server's goodbye."""
        if self._client.is_connected and self._client.protocol:
            self._client.protocol.write(b"QUIT\r\n")
        self._client.close()


class Pool:
    """Idle connections; the one used last is used next, so that surplus ones age and go."""

    def __init__(self, client: Callable[[], aiosmtplib.SMTP], idle_limit: float, max_messages: int) -> None:
        """Take how to make a client, the seconds it may idle, and the messages it may carry."""
        self._client = client
        self._idle_limit = idle_limit
        self._max_messages = max_messages
        self._idle: list[Connection] = []

    def take(self) -> Connection:
        """Return an idle connection, or a new one that is not open yet."""
        self._drop_stale()
        return self._idle.pop() if self._idle else Connection(self._client())

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next message, unless it has done its work."""
        if not connection.is_open:
            return
        if connection.carried >= self._max_messages:
            connection.close()
            return
        connection.last_used = time.monotonic()
        self._idle.append(connection)
        self._drop_stale()

    def close(self) -> None:
        """Close all idle connections."""
        while self._idle:
            self._idle.pop().close()

    def _drop_stale(self) -> None:
        oldest = time.monotonic() - self._idle_limit
        while self._idle and self._idle[0].last_used < oldest:
            self._idle.pop(0).close()
