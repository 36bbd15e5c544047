"""Live tails: rows as server-sent events.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from starlette.responses import Response

from .errors import ApiError, PortalError, TooManyStreams

__all__ = ["LIVE", "LIVE_HEADERS", "UP_TO_DATE", "LiveRow", "Tail", "events", "signed_out"]

LIVE = "/live/"
"""Paths of tails begin with this; the gateway gives them no time limit (gateway/config/portal.py)."""
LIVE_HEADERS = {"x-accel-buffering": "no", "cache-control": "no-store"}
UP_TO_DATE = ": up to date\n\n"
"""Follows the rows that a list has when a tail begins."""
_CHECK_SECONDS = 5.0
"""How often a tail checks its session, which may have ended, and writes a sign of life."""
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

    @property
    def event(self) -> str:
        """The row as a server-sent event."""
        data = "".join(f"data: {line}\n" for line in self.html.splitlines())
        return f"id: {self.id}\n{data}\n"


class Tail(Protocol):
    """What is written to one viewer."""

    async def changes(self) -> str:
        """Return the events since the last call; wait until there are some. It may be cancelled."""

    def close(self) -> None:
        """Follow no longer."""


async def events(
    tail: Tail, check: Callable[[], Awaitable[object]], seconds: float = _CHECK_SECONDS
) -> AsyncGenerator[str, None]:
    """Yield the events of a tail until it fails or its session ends.

    Args:
        tail: The tail; closed at the end.
        check: Fails if the session has ended.
        seconds: How often to check.
    """
    ending = _END
    loop = asyncio.get_running_loop()
    waiting = asyncio.create_task(tail.changes())
    try:
        yield ": connected\n\n"
        due = loop.time() + seconds
        while True:
            if loop.time() >= due:
                await check()
                yield ": still here\n\n"
                due = loop.time() + seconds
            done, _ = await asyncio.wait({waiting}, timeout=max(0.0, due - loop.time()))
            if done:
                yield waiting.result()
                waiting = asyncio.create_task(tail.changes())
    except TooManyStreams as error:
        ending = f"event: too-many\ndata: {error}\n\n"
    except PortalError as error:
        if isinstance(error, ApiError) and error.is_signed_out:
            ending = _SIGNED_OUT
    finally:  # without waiting for anything: the browser may have left, which cancels this task
        waiting.cancel()
        tail.close()
    yield ending


def signed_out() -> Response:
    """Return the tail of someone who is not signed in: browsers do not follow redirects to a page here."""
    return Response(_SIGNED_OUT, media_type="text/event-stream", headers=LIVE_HEADERS)
