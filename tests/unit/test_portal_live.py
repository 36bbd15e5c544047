"""Live tails: what a browser receives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from portal.errors import ApiError, ServersUnreachable
from portal.live import LiveRow, events

OFTEN = 0.001  # seconds


async def rows(*found: LiveRow, then_wait: bool = False) -> AsyncIterator[LiveRow]:
    for row in found:
        yield row
    if then_wait:
        await asyncio.Event().wait()


async def passes() -> None:
    """The session continues."""


async def test_rows_are_events_with_ids() -> None:
    tail = events(rows(LiveRow("7", "<tr>\n<td>x</td></tr>")), passes)
    assert [one async for one in tail] == [
        ": connected\n\n",
        "id: 7\ndata: <tr>\ndata: <td>x</td></tr>\n\n",
        "event: end\ndata:\n\n",
    ]


async def test_a_silent_tail_shows_signs_of_life() -> None:
    tail = events(rows(then_wait=True), passes, OFTEN)
    assert [await anext(tail) for _ in range(3)] == [
        ": connected\n\n",
        ": still here\n\n",
        ": still here\n\n",
    ]
    await tail.aclose()  # type: ignore[attr-defined]


async def test_a_tail_ends_with_its_session() -> None:
    async def ended() -> None:
        raise ApiError("CREDENTIALS_INVALID", "the session has ended", status=401)

    found = [one async for one in events(rows(then_wait=True), ended, OFTEN)]
    assert found[-1] == "event: signed-out\ndata:\n\n"


async def test_a_busy_tail_checks_its_session_too() -> None:
    async def endless() -> AsyncIterator[LiveRow]:
        while True:
            await asyncio.sleep(0)
            yield LiveRow("1", "<tr></tr>")

    async def away() -> None:
        raise ServersUnreachable

    found = [one async for one in events(endless(), away, OFTEN)]
    assert found[-1] == "event: end\ndata:\n\n"
