"""The restart that was asked for: one child after the other, so that somebody always answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from ...errors import ClarionError
from .child_monitor import ChildMonitor

__all__ = ["Rolling"]


class Rolling:
    """Restarts children in their start order, with a stand-in beside them.

    The stand-in starts first: with settings that do not work, nothing else is touched.
    """

    def __init__(
        self,
        keepers: Sequence[ChildMonitor],
        stand_in: Callable[[], ChildMonitor] | None,
        check: Callable[[], None] | None,
        say: Callable[[str], None],
    ) -> None:
        """Take the children, what makes a new stand-in, and what raises if a restart would not work."""
        self._keepers = [keeper for keeper in keepers if keeper.child.restart_signal is not None]
        self._stand_in = stand_in
        self._check = check
        self._say = say
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Ask for a restart; asked again meanwhile, there is one more after it."""
        self._asked.set()

    async def run(self) -> None:
        """Restart whenever asked; until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                if self._check:
                    self._check()
                async with self._standing_in():
                    await self._restart_each()
                self._say("all were restarted")
            except Exception as error:  # a caller's hooks among them: what runs goes on
                self._say(f"the restart was given up: {error}")

    async def _restart_each(self) -> None:
        for keeper in self._keepers:
            self._say(f"restarting {keeper.child.name}")
            await keeper.restart()

    @asynccontextmanager
    async def _standing_in(self) -> AsyncIterator[None]:
        """Run the stand-in during the block."""
        if self._stand_in is None:
            yield
            return
        keeper = self._stand_in()
        keeping = asyncio.create_task(keeper.keep())
        try:
            await _until_used(keeper, keeping)
            yield
            keeping.cancel()
            await keeper.leave()
        finally:
            keeping.cancel()
            await keeper.stop(keeper.child.stop_timeout, asyncio.Event())


async def _until_used(keeper: ChildMonitor, keeping: asyncio.Task[None]) -> None:
    """Wait until the stand-in is used.

    Raises:
        ClarionError: it cannot be started.
    """
    used = asyncio.create_task(keeper.used())
    try:
        await asyncio.wait({used, keeping}, return_when=asyncio.FIRST_COMPLETED)
        if not used.done():
            raise keeping.exception() or ClarionError(f"{keeper.child.name} ended")
        used.result()
    finally:
        used.cancel()
