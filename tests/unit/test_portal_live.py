"""Live tails: what a browser receives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from portal.errors import ApiError, ServersUnreachable
from portal.live import LiveRow, SharedPolls, changed_rows, events

OFTEN = 0.001  # seconds
ROW_1, ROW_2, ROW_3 = (LiveRow(number, f"<tr>{number}</tr>") for number in "123")


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


async def test_rows_of_one_read_are_written_at_once() -> None:
    found = [one async for one in events(rows(*[ROW_1] * 120), passes)]
    assert [one.count("id: 1\n") for one in found] == [0, 50, 50, 20, 0]
    assert found[-1] == "event: end\ndata:\n\n"


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


async def test_changed_rows_are_shown_again_oldest_first() -> None:
    lists = iter([[ROW_2, ROW_1], [ROW_2, ROW_1], [ROW_3, LiveRow("2", "<tr>changed</tr>"), ROW_1]])

    async def load() -> list[LiveRow]:
        return next(lists)

    tail = changed_rows(load, 0)
    found = [await anext(tail) for _ in range(4)]
    assert [(one.id, one.html) for one in found] == [
        ("1", "<tr>1</tr>"),
        ("2", "<tr>2</tr>"),
        ("2", "<tr>changed</tr>"),
        ("3", "<tr>3</tr>"),
    ]


async def test_viewers_of_one_list_share_a_read() -> None:
    now, reads = 0.0, 0
    polls = SharedPolls(lambda: now, 1.0)

    async def load() -> list[LiveRow]:
        nonlocal reads
        reads += 1
        return [ROW_1]

    async def fails() -> list[LiveRow]:
        raise ServersUnreachable

    await asyncio.gather(*(polls.get("a", load) for _ in range(20)))
    assert reads == 1
    await polls.get("b", load)
    assert reads == 2
    now = 1.0
    with pytest.raises(ServersUnreachable):
        await polls.get("a", fails)
    assert await polls.get("a", load) == [ROW_1]
    assert reads == 3
    for number in range(1000):
        await polls.get(number, load)
    assert len(polls._found) == len(polls._locks) <= 100


async def test_reads_take_a_tenth_of_the_time() -> None:
    now, busy = 0.0, 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    def reads_for(seconds: float) -> Callable[[], Awaitable[list[LiveRow]]]:
        async def load() -> list[LiveRow]:
            nonlocal now, busy
            now, busy = now + seconds, busy + seconds
            return [ROW_1]

        return load

    polls = SharedPolls(lambda: now, 0.5, sleep)
    for number in range(100):
        await polls.get(number % 20, reads_for(0.06))
    assert busy / now == pytest.approx(0.1, rel=0.02)
    before = now
    await polls.get("slow", reads_for(15.0))
    await polls.get("next", reads_for(0.0))
    assert now - before < 15 + 9 + 1


async def test_a_read_that_fails_delays_the_next() -> None:
    waits: list[float] = []
    now = 0.0

    async def fails() -> list[LiveRow]:
        nonlocal now
        now += 0.5
        raise ServersUnreachable

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        waits.append(seconds)

    polls = SharedPolls(lambda: now, 0.5, sleep)
    for _ in range(2):
        with pytest.raises(ServersUnreachable):
            await polls.get("a", fails)
    assert waits == [pytest.approx(4.5)]
