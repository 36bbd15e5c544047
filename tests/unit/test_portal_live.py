"""Live tails: what a browser receives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from portal.errors import ApiError, PortalError, ServersUnreachable, TooManyStreams
from portal.followed import FollowedLists, ReadPacer, Viewer
from portal.live import LiveRow, events
from portal.stream_limits import Owner, StreamLimits

OFTEN = 0.001  # seconds
ROW_1, ROW_2, ROW_3 = (LiveRow(number, f"<tr>{number}</tr>") for number in "123")
CHANGED_2 = LiveRow("2", "<tr>changed</tr>")
ADA = Owner("a session", "Ada")
UP_TO_DATE = ": up to date\n\n"


class Parts:
    """A tail of given parts; an exception among them ends it, and without it the tail stays silent."""

    def __init__(self, *parts: str | Exception) -> None:
        self.parts = list(parts)
        self.is_closed = False

    async def changes(self) -> str:
        if not self.parts:
            await asyncio.Event().wait()
        part = self.parts.pop(0)
        if isinstance(part, Exception):
            raise part
        return part

    def close(self) -> None:
        self.is_closed = True


class List:
    """A list that returns one state after the other, each when it is let go; counts its reads."""

    def __init__(self, *states: Sequence[LiveRow] | Exception) -> None:
        self.states = list(states)
        self.reads = 0
        self.may_read = asyncio.Semaphore(0)

    async def load(self) -> Sequence[LiveRow]:
        await self.may_read.acquire()
        self.reads += 1
        state = self.states.pop(0)
        if isinstance(state, Exception):
            raise state
        return state


def signed_out() -> ApiError:
    return ApiError("CREDENTIALS_INVALID", "the session has ended", status=401)


def lists_without_pauses() -> FollowedLists:
    async def at_once(_: float) -> None:
        """Do not wait."""

    return FollowedLists(StreamLimits(), ReadPacer(sleep=at_once), 0)


async def passes() -> None:
    """The session continues."""


def test_a_row_is_an_event_with_its_id() -> None:
    row = LiveRow("7", "<tr>\n<td>x</td></tr>")
    assert row.event == "id: 7\ndata: <tr>\ndata: <td>x</td></tr>\n\n"


async def test_a_tail_that_fails_ends_with_an_event() -> None:
    tail = Parts("one", "two", ServersUnreachable())
    found = [one async for one in events(tail, passes)]
    assert found == [": connected\n\n", "one", "two", "event: end\ndata:\n\n"]
    assert tail.is_closed


async def test_a_silent_tail_shows_signs_of_life() -> None:
    tail = Parts()
    stream = events(tail, passes, OFTEN)
    assert [await anext(stream) for _ in range(3)] == [
        ": connected\n\n",
        ": still here\n\n",
        ": still here\n\n",
    ]
    await stream.aclose()
    assert tail.is_closed


async def test_a_tail_ends_with_its_session() -> None:
    async def ended() -> None:
        raise signed_out()

    found = [one async for one in events(Parts(), ended, OFTEN)]
    assert found[-1] == "event: signed-out\ndata:\n\n"


async def test_a_busy_tail_checks_its_session_too() -> None:
    class Endless(Parts):
        async def changes(self) -> str:
            await asyncio.sleep(0)
            return "more"

    async def away() -> None:
        raise ServersUnreachable

    found = [one async for one in events(Endless(), away, OFTEN)]
    assert found[-1] == "event: end\ndata:\n\n"


async def test_changed_rows_are_shown_again_oldest_first() -> None:
    states = List([ROW_2, ROW_1], [ROW_2, ROW_1], [ROW_3, CHANGED_2, ROW_1])
    viewer = Viewer(lists_without_pauses(), "a", states.load, ADA)
    for _ in range(3):
        states.may_read.release()
    assert await viewer.changes() == f"{ROW_1.event}{ROW_2.event}{UP_TO_DATE}"
    assert await viewer.changes() == f"{CHANGED_2.event}{ROW_3.event}"
    viewer.close()


async def test_viewers_of_one_list_share_its_reads() -> None:
    states, other = List([ROW_1], [ROW_2, ROW_1]), List([ROW_3])
    lists = lists_without_pauses()
    viewers = [Viewer(lists, "a", states.load, Owner(str(number), str(number))) for number in range(20)]
    stranger = Viewer(lists, "b", other.load, ADA)
    states.may_read.release()
    assert {await one.changes() for one in viewers} == {f"{ROW_1.event}{UP_TO_DATE}"}
    late = Viewer(lists, "a", states.load, ADA)
    assert await late.changes() == f"{ROW_1.event}{UP_TO_DATE}"
    assert states.reads == 1
    states.may_read.release()
    assert {await one.changes() for one in [*viewers, late]} == {ROW_2.event}
    assert states.reads == 2
    waiting = asyncio.create_task(stranger.changes())
    for one in [*viewers, late]:
        one.close()
    other.may_read.release()
    assert await waiting == f"{ROW_3.event}{UP_TO_DATE}"  # another key never sees the rows of this one
    assert len(lists) == 1
    stranger.close()


async def test_a_list_without_viewers_is_not_read() -> None:
    states = List([ROW_1])
    lists = lists_without_pauses()
    viewer = Viewer(lists, "a", states.load, ADA)
    assert len(lists) == 0  # a browser that leaves before its tail begins costs nothing
    states.may_read.release()
    others = asyncio.all_tasks()  # a worker also has those of its running stacks
    await viewer.changes()
    readers = asyncio.all_tasks() - others
    viewer.close()
    viewer.close()
    await asyncio.wait(readers)  # they end, although they wait for a read
    assert (len(lists), states.reads) == (0, 1)


async def test_an_ended_session_ends_only_its_own_tail() -> None:
    theirs, ours = List(signed_out()), List([ROW_1])
    lists = lists_without_pauses()
    first, second = Viewer(lists, "a", theirs.load, ADA), Viewer(lists, "a", ours.load, ADA)
    waiting = [asyncio.create_task(one.changes()) for one in (first, second)]
    theirs.may_read.release()
    ours.may_read.release()
    with pytest.raises(ApiError, match="session"):
        await waiting[0]
    assert await waiting[1] == f"{ROW_1.event}{UP_TO_DATE}"
    first.close()
    second.close()
    assert len(lists) == 0


async def test_a_failed_read_ends_all_tails_of_the_list() -> None:
    states = List([ROW_1], ServersUnreachable(), [ROW_2])
    lists = lists_without_pauses()
    viewers = [Viewer(lists, "a", states.load, ADA) for _ in range(2)]
    states.may_read.release()
    for one in viewers:
        await one.changes()
    states.may_read.release()
    for one in viewers:
        with pytest.raises(PortalError):
            await one.changes()
        one.close()
    assert len(lists) == 0
    again = Viewer(lists, "a", states.load, ADA)  # the browser connects again
    states.may_read.release()
    assert await again.changes() == f"{ROW_2.event}{UP_TO_DATE}"
    again.close()


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

    pacer = ReadPacer(lambda: now, sleep)
    for _ in range(100):
        await pacer.read(reads_for(0.06))
    assert busy / now == pytest.approx(0.1, rel=0.02)
    before = now
    await pacer.read(reads_for(15.0))
    await pacer.read(reads_for(0.0))
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

    pacer = ReadPacer(lambda: now, sleep)
    for _ in range(2):
        with pytest.raises(ServersUnreachable):
            await pacer.read(fails)
    assert waits == [pytest.approx(4.5)]


async def test_a_session_follows_few_lists() -> None:
    states = List([ROW_1])
    states.may_read.release()
    lists = lists_without_pauses()
    viewers = [Viewer(lists, "a", states.load, ADA) for _ in range(10)]
    for one in viewers:
        await one.changes()
    found = [one async for one in events(Viewer(lists, "a", states.load, ADA), passes)]
    assert found[-1].startswith("event: too-many\ndata: ")
    assert "Close another tab" in found[-1]
    viewers[0].close()
    viewers[0].close()
    for owner in (ADA, ADA._replace(session="another")):
        viewers.append(Viewer(lists, "a", states.load, owner))
        await viewers[-1].changes()
    for viewer in viewers:
        viewer.close()
    assert len(lists) == 0


def test_a_person_has_few_streams() -> None:
    shares = StreamLimits()
    owners = [ADA._replace(session=str(number % 4)) for number in range(20)]
    for one in owners:
        shares.take(one)
    with pytest.raises(TooManyStreams):
        shares.require(ADA._replace(session="new"))
    shares.require(Owner("new", "Bob"))
    for one in owners:
        shares.release(one)
    assert len(shares) == 0
    with shares.taken(ADA):
        assert len(shares) == 2
    assert len(shares) == 0
