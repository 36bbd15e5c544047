"""Telling dispatchers that there is work, without putting NOTIFY into the commit.

NOTIFY inside the accepting transaction would serialise all commits of the cluster on one lock. A notice
that gets lost is harmless: dispatchers look into the queue by themselves twice a second.
"""

from __future__ import annotations

import asyncio

import structlog

from ..pool import Pool, is_outage

__all__ = ["CHANNEL", "Notifier"]

CHANNEL = "clarion_queue"
_AT_MOST_EVERY = 0.02  # seconds

log = structlog.get_logger(__name__)


class Notifier:
    """Sends at most 50 notices a second, however many triggers arrive."""

    def __init__(self, pool: Pool) -> None:
        """Take the pool to send notices by."""
        self._pool = pool
        self._news = asyncio.Event()

    def notify(self) -> None:
        """Say that something was queued."""
        self._news.set()

    async def run(self) -> None:
        """Send notices until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await self._pool.execute(f"NOTIFY {CHANNEL}")
            except Exception as error:  # a lost notice costs a second; it must not end the server
                log.warning("notice not sent", exc_info=None if is_outage(error) else error)
            await asyncio.sleep(_AT_MOST_EVERY)
