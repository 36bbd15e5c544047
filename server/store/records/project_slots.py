"""Turns: how much of a shared resource a project may use at once."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ...errors import Overloaded

__all__ = ["ProjectLimiter"]


class ProjectLimiter:
    """Lets so many calls of each project in at once; the others wait for their turn, but not for long."""

    def __init__(self, at_once: int, patience: float) -> None:
        """Take how many a project may have at once, and how many seconds the others wait."""
        self._patience = patience
        self._of_project: defaultdict[int, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(at_once)
        )

    @asynccontextmanager
    async def slot(self, project_id: int) -> AsyncIterator[None]:
        """Be one of the project's calls for the block.

        Raises:
            Overloaded: none of the others ended in time.
        """
        turns = self._of_project[project_id]
        try:
            async with asyncio.timeout(self._patience):
                await turns.acquire()
        except TimeoutError:
            raise Overloaded(
                "Too many lists of this project are being read. Ask for fewer at once, or for less with each."
            ) from None
        try:
            yield
        finally:
            turns.release()
