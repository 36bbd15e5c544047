"""A pool of SMTP connections."""

from __future__ import annotations

import time
from collections.abc import Callable

from .connection import Connection

__all__ = ["Pool"]


class Pool:
    """Idle connections. The most recently used one is used next, so that surplus ones expire."""

    def __init__(self, new: Callable[[], Connection], idle_limit: float, max_messages: int) -> None:
        """Create an empty pool.

        Args:
            new: Creates a connection that is not open yet.
            idle_limit: Seconds after which an idle connection is closed.
            max_messages: Messages after which a connection is closed.
        """
        self._new = new
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
        return self._new()

    def give_back(self, connection: Connection) -> None:
        """Return a connection to the pool, or close it if it is broken or has reached `max_messages`."""
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
