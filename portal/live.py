"""Live tails: rows as server-sent events.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass

from starlette.responses import Response

from .errors import ApiError, PortalError

__all__ = ["LIVE", "LIVE_HEADERS", "LiveRow", "SharedPolls", "changed_rows", "events", "signed_out"]

LIVE = "/live/"
"""Paths of tails begin with this; the gateway gives them no time limit (gateway/config/portal.py)."""
LIVE_HEADERS = {"x-accel-buffering": "no", "cache-control": "no-store"}
_CHECK_SECONDS = 5.0
"""How often a tail checks its session, which may have ended, and writes a sign of life."""
POLL_SECONDS = 1.0
"""How often a tail reads its list."""
_MAX_POLLS = 100
_ROWS_OF_A_PART = 50
"""Rows that are there already are written at once: each write costs the portal and the gateway the same."""
_SHARE = 0.1
"""The share of the time in which lists are read, one at a time: at most 5 % of two cores."""
_LONGEST_SECONDS = 1.0
"""Of a read that delays the next: a slow server must not stop all tails."""
_SIGNED_OUT = "event: signed-out\ndata:\n\n"
_END = "event: end\ndata:\n\n"


@dataclass(frozen=True, slots=True)
class LiveRow:
    """A row of a live tail.

    Attributes:
        id: What it shows, such as a trigger's ID.
        html: The row, made by `Visit.fragment`; it replaces the row with the same attribute `id`.
    """

    id: str
    html: str


class SharedPolls:
    """Reads a list once for all tails of the same list, so that more viewers cost little more.

    Different lists are read one after the other, with pauses: with many of them, or if reads take long, each
    list is read less often, so that viewers cannot take much of the servers' time.

    Args:
        clock: Returns seconds.
        seconds: For how long an answer is used.
        sleep: Waits for this number of seconds.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        seconds: float = POLL_SECONDS / 2,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._sleep = sleep
        self._turn = asyncio.Lock()
        self._next_at = 0.0
        self._found: OrderedDict[Hashable, tuple[float, Sequence[LiveRow]]] = OrderedDict()
        self._locks: dict[Hashable, asyncio.Lock] = {}

    async def get(self, key: Hashable, load: Callable[[], Awaitable[Sequence[LiveRow]]]) -> Sequence[LiveRow]:
        """Return the rows of a list.

        Args:
            key: The list, and what decides who may see it.
            load: Reads it; an error is that of this caller only.
        """
        async with self._locks.setdefault(key, asyncio.Lock()):
            at, rows = self._found.get(key, (0.0, ()))
            if key in self._found and self._clock() - at < self._seconds:
                return rows
            rows = await self._read(load)
            self._found[key] = (self._clock(), rows)
            self._found.move_to_end(key)
        while len(self._found) > _MAX_POLLS:
            dropped, _ = self._found.popitem(last=False)
            self._locks.pop(dropped, None)
        return rows

    async def _read(self, load: Callable[[], Awaitable[Sequence[LiveRow]]]) -> Sequence[LiveRow]:
        """Read a list when it is its turn."""
        async with self._turn:
            began = self._clock()
            if began < self._next_at:
                await self._sleep(self._next_at - began)
                began = self._clock()
            try:
                return await load()
            finally:
                ended = self._clock()
                self._next_at = ended + min(ended - began, _LONGEST_SECONDS) * (1 / _SHARE - 1)


async def changed_rows(
    load: Callable[[], Awaitable[Sequence[LiveRow]]], seconds: float = POLL_SECONDS
) -> AsyncIterator[LiveRow]:
    """Yield the rows of a list that are new or have changed, again and again.

    Args:
        load: Reads the list, newest first.
        seconds: How long to wait before it is read again.
    """
    shown: dict[str, str] = {}
    while True:
        found = await load()
        for row in reversed(found):
            if shown.get(row.id) != row.html:
                yield row
        shown = {row.id: row.html for row in found}
        await asyncio.sleep(seconds)


async def events(
    rows: AsyncIterator[LiveRow], check: Callable[[], Awaitable[object]], seconds: float = _CHECK_SECONDS
) -> AsyncIterator[str]:
    """Yield the events of a tail until its rows or its session end.

    Args:
        rows: The rows.
        check: Fails if the session has ended.
        seconds: How often to check.
    """
    yield ": connected\n\n"
    waiting = asyncio.create_task(_next(rows))
    ending = _END
    try:
        due = asyncio.get_running_loop().time() + seconds
        while True:
            now = asyncio.get_running_loop().time()
            if now >= due:
                await check()
                yield ": still here\n\n"
                due = now + seconds
            done, _ = await asyncio.wait({waiting}, timeout=max(0.0, due - now))
            if done:
                part: list[str] = []
                while waiting.done() and len(part) < _ROWS_OF_A_PART:
                    row = waiting.result()
                    if row is None:
                        break
                    part.append(_event(row))
                    waiting = asyncio.create_task(_next(rows))
                    await asyncio.sleep(0)  # it is done if the row is there already
                if not part:
                    break
                yield "".join(part)
    except PortalError as error:
        if isinstance(error, ApiError) and error.is_signed_out:
            ending = _SIGNED_OUT
    finally:
        waiting.cancel()
    yield ending


def signed_out() -> Response:
    """Return the tail of someone who is not signed in: browsers do not follow redirects to a page here."""
    return Response(_SIGNED_OUT, media_type="text/event-stream", headers=LIVE_HEADERS)


async def _next(rows: AsyncIterator[LiveRow]) -> LiveRow | None:
    """Return the next row, or None after the last."""
    return await anext(rows, None)


def _event(row: LiveRow) -> str:
    data = "".join(f"data: {line}\n" for line in row.html.splitlines())
    return f"id: {row.id}\n{data}\n"
