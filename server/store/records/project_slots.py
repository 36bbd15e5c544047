"""Limits how much of a shared resource one project uses at once."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ...errors import Overloaded

__all__ = ["ProjectLimiter"]


class ProjectLimiter:
    """Limits each project's concurrent calls; further calls wait up to `patience` seconds for a slot.

    Args:
        at_once: The maximum number of concurrent calls of each project.
        patience: Maximum seconds that a call waits for a slot.
    """

    def __init__(self, at_once: int, patience: float) -> None:
        self._patience = patience
        self._slots: defaultdict[int, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(at_once))

    @asynccontextmanager
    async def slot(self, project_id: int) -> AsyncIterator[None]:
        """Hold one of the project's slots for the block.

        Raises:
            Overloaded: No slot became free in time.
        """
        slots = self._slots[project_id]
        try:
            async with asyncio.timeout(self._patience):
                await slots.acquire()
        except TimeoutError:
            raise Overloaded(
                "This project is reading too many lists. Send fewer requests at once, or narrow the lists."
            ) from None
        try:
            yield
        finally:
            slots.release()
