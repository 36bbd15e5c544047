"""Restarts one child after another on request, so that the service stays available."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from ...errors import ClarionError
from .child_monitor import ChildMonitor

__all__ = ["Rolling"]


class Rolling:
    """Restarts children in their start order while a spare child runs.

    The spare starts first: if the settings do not work, nothing else is affected.

    Args:
        monitors: of all children; those without a `restart_signal` are left alone.
        spare: creates the monitor of a spare child.
        check: raises if a restart would not work.
        notify: called with each message for the operator.
    """

    def __init__(
        self,
        monitors: Sequence[ChildMonitor],
        spare: Callable[[], ChildMonitor] | None,
        check: Callable[[], None] | None,
        notify: Callable[[str], None],
    ) -> None:
        self._monitors = [monitor for monitor in monitors if monitor.child.restart_signal is not None]
        self._spare = spare
        self._check = check
        self._notify = notify
        self._requested = asyncio.Event()

    def request(self) -> None:
        """Request a restart. Requests during a restart lead to one more."""
        self._requested.set()

    async def run(self) -> None:
        """Restart whenever requested, until cancelled."""
        while True:
            await self._requested.wait()
            self._requested.clear()
            try:
                if self._check:
                    self._check()
                async with self._spare_running():
                    await self._restart_each()
                self._notify("all processes were restarted")
            except Exception as error:  # also errors of hooks: the running processes must keep running
                self._notify(f"the restart was abandoned: {error}")

    async def _restart_each(self) -> None:
        for monitor in self._monitors:
            self._notify(f"restarting {monitor.child.name}")
            await monitor.restart()

    @asynccontextmanager
    async def _spare_running(self) -> AsyncIterator[None]:
        """Run the spare child during the block."""
        if self._spare is None:
            yield
            return
        monitor = self._spare()
        running = asyncio.create_task(monitor.run())
        try:
            await _until_in_use(monitor, running)
            yield
            running.cancel()
            await monitor.stop_for_restart()
        finally:
            running.cancel()
            await monitor.stop(monitor.child.stop_timeout, asyncio.Event())


async def _until_in_use(monitor: ChildMonitor, running: asyncio.Task[None]) -> None:
    """Wait until the spare child is in use.

    Raises:
        ClarionError: it cannot be started.
    """
    in_use = asyncio.create_task(monitor.wait_in_use())
    try:
        await asyncio.wait({in_use, running}, return_when=asyncio.FIRST_COMPLETED)
        if not in_use.done():
            raise running.exception() or ClarionError(f"{monitor.child.name} ended")
        in_use.result()
    finally:
        in_use.cancel()
