"""Which server and dispatcher processes there are: each takes its share of a rate."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable

import structlog

from ..errors import StoreUnavailable
from .pool import Pool, reached

__all__ = ["Presence"]

log = structlog.get_logger(__name__)

_INTERVAL = 2.0
# Only the database's clock is asked, so those of the machines may differ.
_BEAT = """
    WITH beat AS (
        INSERT INTO server_process (id, seen_at, role) VALUES ($1, now(), $2)
        ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at
    ), swept AS (
        DELETE FROM server_process WHERE seen_at < now() - interval '1 minute' AND id <> $1
    )
    SELECT 1 + count(*) FROM server_process
    WHERE seen_at > now() - interval '10 s' AND id <> $1 AND role = $2
"""


class Presence:
    """Makes this process known to the others and counts them.

    A process that ends says so; one that is killed counts for 10 seconds more. The count falls one beat late:
    right after a crash or an outage of the database, the first to come back would else find itself alone.
    """

    def __init__(
        self, pool: Pool, tell: Callable[[int], None], *, role: str = "server", interval: float = _INTERVAL
    ) -> None:
        """Take whom to tell how many of this role there are, and seconds between beats."""
        self._role = role
        self._pool = pool
        self._tell = tell
        self._interval = interval
        self._id = uuid.uuid4()
        self._counted = 1
        self._left = False
        self._one_at_a_time = asyncio.Lock()

    async def beat(self) -> None:
        """Say once that this process is there, and count.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        async with self._one_at_a_time, reached():
            if self._left:
                return
            counted: int = await self._pool.fetchval(_BEAT, self._id, self._role, timeout=self._interval)
        shared_by = max(counted, self._counted)
        if counted != self._counted:
            log.info(f"{self._role} processes counted", count=counted)
        self._counted = counted
        self._tell(shared_by)

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.beat()
            except Exception as error:  # the last count is used on; the server goes on
                expected = isinstance(error, StoreUnavailable | TimeoutError)
                log.warning(f"{self._role} processes not counted", exc_info=None if expected else error)

    async def leave(self) -> None:
        """Say that this process takes no more calls. Without a database the others find out by themselves."""
        self._left = True
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(self._interval), self._one_at_a_time, reached():
                await self._pool.execute("DELETE FROM server_process WHERE id = $1", self._id)
