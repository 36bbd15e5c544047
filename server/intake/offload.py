"""Work that takes long, done in a thread so that other calls get their turns meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["run_in_thread"]

D = TypeVar("D")
T = TypeVar("T")
# One: with more, the event loop would wait for the interpreter behind all of them.
_thread = ThreadPoolExecutor(1, thread_name_prefix="run_in_thread")


async def run_in_thread(work: Callable[[D], T], data: D) -> T:
    """Return what `work`, which must touch nothing that others use, makes of the data."""
    return await asyncio.get_running_loop().run_in_executor(_thread, work, data)
