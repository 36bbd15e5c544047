"""Runs work on templates in threads, so that an expensive template does not delay other calls."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

from ..templates.limits import SWITCH_SECONDS
from .call_limit import CallLimit

__all__ = ["TemplateThread"]

ResultT = TypeVar("ResultT")
ArgumentTs = TypeVarTuple("ArgumentTs")


class TemplateThread:
    """A thread that does one thing at a time."""

    def __init__(self, name: str, *, max_calls: int, own: int) -> None:
        """Create the thread, which starts with the first work.

        Args:
            name: The name of the thread.
            max_calls: How many calls may use it or wait for it.
            own: How many of them may be of one owner.
        """
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._limit = CallLimit(max_calls, own)

    async def run(
        self, owner: Hashable, work: Callable[[*ArgumentTs], ResultT], *arguments: *ArgumentTs
    ) -> ResultT:
        """Call a function in the thread, and return its result.

        Args:
            owner: On whose behalf; see `Actor.owner`.
            work: The function.
            arguments: Its arguments.

        Raises:
            Overloaded: Too many calls wait for the thread.
        """
        with self._limit.counted(owner):
            sys.setswitchinterval(SWITCH_SECONDS)
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
