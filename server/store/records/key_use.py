"""Records when keys are used, without a write on the path of a call."""

from __future__ import annotations

import asyncio
import contextlib
import uuid

import structlog

from ...errors import StoreUnavailable
from ..admin.keys import note_use
from ..pool import Pool, reached

__all__ = ["KeyUse"]

log = structlog.get_logger(__name__)

_INTERVAL = 30.0  # seconds
_AT_THE_END = 1.0  # seconds that a stopping server waits


class KeyUse:
    """Collects the keys that are used, and stores them every 30 seconds.

    A server that is killed loses what it has collected since: the time of last use is then up to half a
    minute too early.

    Args:
        pool: The database.
        interval: Seconds between writes.
    """

    def __init__(self, pool: Pool, interval: float = _INTERVAL) -> None:
        self._pool = pool
        self._interval = interval
        self._used: set[uuid.UUID] = set()
        self.note = self._used.add
        """Note that the key with this ID was used."""

    async def store(self) -> None:
        """Store what was collected. After an outage, it is stored with the next.

        Raises:
            StoreUnavailable: The database cannot be reached.
        """
        if not self._used:
            return
        used = self._used.copy()
        self._used.clear()
        try:
            async with reached():
                await note_use(self._pool, used)
        except BaseException:
            self._used |= used
            raise

    async def run(self) -> None:
        """Store until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(self._interval)
                await self._try_to_store()
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_AT_THE_END):
                    await self._try_to_store()

    async def _try_to_store(self) -> None:
        try:
            await self.store()
        except Exception as error:  # tried again later; the process must not stop
            unexpected = None if isinstance(error, StoreUnavailable) else error
            log.warning("use of keys not stored", exc_info=unexpected)
