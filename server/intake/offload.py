"""Work that takes long, done in a thread so that other calls are served meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["run_in_thread"]

InputT = TypeVar("InputT")
ResultT = TypeVar("ResultT")
# One thread: with more, the event loop would compete with all of them for the interpreter.
_thread = ThreadPoolExecutor(1, thread_name_prefix="intake")


async def run_in_thread(work: Callable[[InputT], ResultT], data: InputT) -> ResultT:
    """Return `work(data)`, computed in a thread. `work` must not use state that other code uses, too."""
    return await asyncio.get_running_loop().run_in_executor(_thread, work, data)
