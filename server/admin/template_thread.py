"""Runs work on templates in threads, so that an expensive template does not delay other calls."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

from ..errors import Overloaded
from ..templates.limits import SWITCH_SECONDS

__all__ = ["TemplateThread"]

ResultT = TypeVar("ResultT")
ArgumentTs = TypeVarTuple("ArgumentTs")


class TemplateThread:
    """A thread that does one thing at a time."""

    def __init__(self, name: str, *, max_calls: int) -> None:
        """Create the thread, which starts with the first work.

        Args:
            name: The name of the thread.
            max_calls: How many calls may use it or wait for it.
        """
        self._max_calls = max_calls
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._calls = 0

    async def run(self, work: Callable[[*ArgumentTs], ResultT], *arguments: *ArgumentTs) -> ResultT:
        """Call a function in the thread, and return its result.

        Raises:
            Overloaded: Too many calls wait for the thread.
        """
        if self._calls >= self._max_calls:
            raise Overloaded
        sys.setswitchinterval(SWITCH_SECONDS)
        self._calls += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
        finally:
            self._calls -= 1
