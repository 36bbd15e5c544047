"""Notifies dispatchers of new work, outside the commit.

NOTIFY inside the accepting transaction would serialise all commits of the cluster on one lock. A lost
notification is harmless: dispatchers also poll the queue twice a second.
"""

from __future__ import annotations

import asyncio

import structlog

from ..pool import Pool, is_outage
from .statements import SQL

__all__ = ["NOTIFY", "QUEUE_CHANNEL", "Notifier"]

QUEUE_CHANNEL = "clarion_queue"
"""The PostgreSQL notification channel that dispatchers listen on."""
NOTIFY = SQL["notify"](channel=QUEUE_CHANNEL)
"""Text and argument of the statement that notifies dispatchers."""
_INTERVAL = 0.02  # seconds

log = structlog.get_logger(__name__)


class Notifier:
    """Sends at most 50 notifications a second, however many triggers arrive.

    Args:
        pool: The database to notify through.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._queued = asyncio.Event()

    def notify(self) -> None:
        """Signal that work was queued."""
        self._queued.set()

    async def run(self) -> None:
        """Send notifications until cancelled."""
        while True:
            await self._queued.wait()
            self._queued.clear()
            try:
                await self._pool.execute(*NOTIFY)
            except Exception as error:  # a lost notification only delays work; it must not stop the server
                log.warning("notification not sent", exc_info=None if is_outage(error) else error)
            await asyncio.sleep(_INTERVAL)
