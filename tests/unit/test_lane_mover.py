"""When the lanes are searched for triggers that belong elsewhere."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from server.dispatcher.lane_mover import CHUNK, FRONT, INTERVAL, MARGIN, MAX_WAIT, SETTLE_TIME, LaneMover
from server.domain.delivery import Moved
from server.errors import StoreUnavailable
from tests.kit.clock import FakeClock

OLD = "email/old"
DUE = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class Searched:
    """A queue with one lane; records the floors of the searches and returns scripted counts."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.floors: list[dt.datetime] = []
        self.counts: list[int] = []
        self.errors: list[Exception] = []

    async def lanes(self) -> set[str]:
        if self.errors:
            raise self.errors.pop()
        return {OLD}

    async def move_misplaced(self, lane: str, floor: dt.datetime, limit: int) -> Moved:
        assert (lane, limit) == (OLD, CHUNK)
        self.floors.append(floor)
        count = self.counts.pop(0) if self.counts else 0
        return Moved(count, self.clock.utc(), DUE if count else None)


class Mover:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.queue = Searched(self.clock)
        self.lanes = {(1, 44): OLD}
        self.mover = LaneMover(self.queue, lambda: self.lanes, self.clock)


@pytest.fixture
async def searching() -> AsyncIterator[Mover]:
    one = Mover()
    task = asyncio.create_task(one.mover.run())
    yield one
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_lane_is_searched_once_and_then_what_becomes_due(searching: Mover) -> None:
    began = searching.clock.utc()
    await searching.clock.run(INTERVAL)
    assert searching.queue.floors == [FRONT, began - MARGIN]


async def test_changed_lanes_are_searched_now_and_once_more(searching: Mover) -> None:
    await searching.clock.run(2 * SETTLE_TIME)
    assert searching.queue.floors.count(FRONT) == 2  # at the start, which is a change, too
    searching.lanes = {(1, 44): "email/new"}
    await searching.clock.run(INTERVAL)
    assert searching.queue.floors.count(FRONT) == 3
    await searching.clock.run(2 * SETTLE_TIME)
    assert searching.queue.floors.count(FRONT) == 4


async def test_more_is_moved_when_it_is_wanted(searching: Mover) -> None:
    await searching.clock.run(0)
    searching.queue.floors.clear()
    searching.queue.counts = [CHUNK, CHUNK, 3]
    await searching.clock.run(INTERVAL)
    searching.mover.request_more({"text/other"})
    await searching.clock.run(INTERVAL)
    assert len(searching.queue.floors) == 1
    searching.mover.request_more({"email/new"})
    await searching.clock.run(0)
    assert searching.queue.floors[1:] == [DUE]
    await searching.clock.run(MAX_WAIT)
    assert searching.queue.floors[1:3] == [DUE, DUE]
    assert len(searching.queue.floors) == 3


async def test_searching_survives_errors(searching: Mover) -> None:
    searching.queue.errors = [ValueError("someone@example.org"), StoreUnavailable()]
    with capture_logs() as logs:
        await searching.clock.run(3 * INTERVAL)
    assert searching.queue.floors
    assert [one["event"] for one in logs] == ["moving_failed"]
    assert "someone@example.org" not in str(logs)
