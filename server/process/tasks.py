"""Runs the background tasks of a process until it receives a signal."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

__all__ = ["Tasks"]


class Tasks:
    """Background tasks of a process. If one of them ends, `until_signal` raises its error."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Tasks:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(self, *work: Coroutine[Any, Any, None]) -> list[asyncio.Task[None]]:
        """Start coroutines as tasks and return the tasks."""
        started = [asyncio.create_task(one) for one in work]
        self._tasks += started
        return started

    async def until_signal(self) -> signal.Signals:
        """Wait for SIGTERM or SIGINT and return it.

        Raises:
            Exception: the error of a background task.
        """
        signalled: asyncio.Queue[signal.Signals] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, signalled.put_nowait, number)
        waiter = asyncio.create_task(signalled.get())
        done, _ = await asyncio.wait([waiter, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {waiter}:
            waiter.cancel()
            task.result()
            raise RuntimeError(f"{task.get_coro()} ended unexpectedly")
        return waiter.result()
