"""SMTP connections, used again while they are fresh."""

from __future__ import annotations

import time
from collections.abc import Callable

import aiosmtplib

from .connection import Connection

__all__ = ["Pool"]


class Pool:
    """Idle connections; the one used last is used next, so that surplus ones age and go."""

    def __init__(self, client: Callable[[], aiosmtplib.SMTP], idle_limit: float, max_messages: int) -> None:
        """Take how to make a client, the seconds it may idle, and the messages it may carry."""
        self._client = client
        self._idle_limit = idle_limit
        self._max_messages = max_messages
        self._idle: list[Connection] = []

    def take(self) -> Connection:
        """Return an idle connection that is still open, or a new one that is not open yet."""
        self._drop_stale()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
            connection.close()
        return Connection(self._client())

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next message, unless it has done its work."""
        if not connection.is_open or connection.carried >= self._max_messages:
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
