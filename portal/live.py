"""Live tails: rows as server-sent events.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from starlette.responses import Response

from .errors import ApiError, PortalError

__all__ = ["LIVE", "LIVE_HEADERS", "LiveRow", "events", "signed_out"]

LIVE = "/live/"
"""Paths of tails begin with this; the gateway gives them no time limit (gateway/config/portal.py)."""
LIVE_HEADERS = {"x-accel-buffering": "no", "cache-control": "no-store"}
_CHECK_SECONDS = 5.0
"""How often a tail checks its session, which may have ended, and writes a sign of life."""
_SIGNED_OUT = "event: signed-out\ndata:\n\n"
_END = "event: end\ndata:\n\n"


@dataclass(frozen=True, slots=True)
class LiveRow:
    """A row of a live tail.

    Attributes:
        id: Where the tail continues after this row, as `Last-Event-ID`.
        html: The row, made by `Visit.fragment`.
    """

    id: str
    html: str


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
                row = waiting.result()
                if row is None:
                    break
                yield _event(row)
                waiting = asyncio.create_task(_next(rows))
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
