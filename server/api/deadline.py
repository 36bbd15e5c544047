"""The deadline of a call."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from ..errors import TimedOut

__all__ = ["Deadline"]


class Deadline:
    """Raises TimedOut if the block takes longer than `seconds`.

    Like asyncio.timeout, but the deadline cannot be moved, which saves 33,000 instructions, a tenth of an
    empty gRPC call.
    """

    __slots__ = ("_expired", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._expired = False

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task(loop)
        self._timer = loop.call_later(max(0.0, self._seconds), self._expire)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._expired and kind is asyncio.CancelledError:
            assert self._task is not None  # noqa: S101 - a block is always part of a task
            # uncancel returns the number of other cancellations; if there is one, it takes precedence.
            if self._task.uncancel() == 0:
                raise TimedOut from error

    def _expire(self) -> None:
        self._expired = True
        if self._task is not None:
            self._task.cancel()
