"""Counts the running server and dispatcher processes, which divide limits and rates among themselves."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import socket
import uuid
from collections.abc import Callable, Mapping
from importlib.metadata import version

import msgspec
import structlog

from ..domain.clock import SYSTEM_CLOCK, Clock
from ..domain.waiting import ProviderStatus
from ..errors import StoreUnavailable
from . import metrics
from .pool import Pool, reached
from .sql import load

__all__ = ["Presence"]

log = structlog.get_logger(__name__)

_INTERVAL = 2.0  # seconds
_VERSION = version("clarion")
_HOST = socket.gethostname()
_SQL = load("presence.sql")


class Presence:
    """Registers this process, and counts the processes of its role.

    A process that stops removes itself; one that is killed is counted for another 10 seconds. A lower count
    takes effect one beat later: otherwise, the first process to reconnect after an outage would use the whole
    rate.

    Args:
        pool: The database.
        on_count: Called with the number of processes of this role.
        role: `server` or `dispatcher`.
        status: Returns the status of each provider, which a dispatcher reports.
        interval: Seconds between beats.
        clock: The clock of this machine, which each beat compares with the database's.
    """

    def __init__(
        self,
        pool: Pool,
        on_count: Callable[[int], None],
        *,
        role: str = "server",
        status: Callable[[], Mapping[str, ProviderStatus]] | None = None,
        interval: float = _INTERVAL,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._pool = pool
        self._on_count = on_count
        self._role = role
        self._status = status
        self._interval = interval
        self._clock = clock
        self._clock_offset: float | None = None
        """Seconds by which this machine's clock was ahead of the database's at the last beat."""
        self._write_seconds: float | None = None
        """How long the last beat took."""
        self._id = uuid.uuid4()
        self._count = 1
        self._left = False
        self._lock = asyncio.Lock()

    async def beat(self) -> None:
        """Record once that this process is running, and count the processes of its role.

        Raises:
            StoreUnavailable: The database cannot be reached.
        """
        async with self._lock, reached():
            if self._left:
                return
            count = await self._write()
        shared_by = max(count, self._count)
        if count != self._count:
            log.info(f"{self._role} processes counted", count=count)
        self._count = count
        self._on_count(shared_by)

    async def _write(self) -> int:
        """Write the report, compare the clocks, and return the number of processes of this role."""
        providers = msgspec.json.encode(self._status()).decode() if self._status else None
        process = {"id": self._id, "role": self._role, "version": _VERSION, "host": _HOST}
        health = {"clock_offset": self._clock_offset, "write_seconds": self._write_seconds}
        statement = _SQL["beat"](**process, **health, providers=providers)
        begun, begun_at = self._clock.monotonic(), self._clock.utc()
        try:
            row = await self._pool.fetchrow(*statement, timeout=self._interval)
        finally:  # one that timed out took at least so long
            self._write_seconds = self._clock.monotonic() - begun
            metrics.reported(self._write_seconds)
        assert row  # noqa: S101 - it counts
        # The database read its clock at some time during the call: on average, in the middle.
        middle = begun_at + dt.timedelta(seconds=self._write_seconds / 2)
        self._clock_offset = (middle - row["now"]).total_seconds()
        metrics.clocks_compared(self._clock_offset)
        return int(row["count"])

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.beat()
            except Exception as error:  # the last count stays in use; the process must not stop
                expected = isinstance(error, StoreUnavailable | TimeoutError)
                log.warning(f"{self._role} processes not counted", exc_info=None if expected else error)

    async def leave(self) -> None:
        """Remove this process. If that fails, the others still count it for 10 seconds."""
        self._left = True
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(self._interval), self._lock, reached():
                await self._pool.execute(*_SQL["leave"](id=self._id))
