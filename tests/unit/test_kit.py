"""The tests' own clock and their way to wait."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from tests.kit.cases import each_case
from tests.kit.clock import FakeClock
from tests.kit.connections import serving
from tests.kit.cut_connections import losing_answers
from tests.kit.until import TIMEOUT, until


async def test_until_returns_the_value() -> None:
    values = iter([0, 0, 7])
    assert await until(lambda: next(values), "a value that is not 0") == 7


async def test_until_awaits_coroutines() -> None:
    async def one() -> int:
        return 1

    assert await until(one, "one") == 1


async def test_until_names_what_it_waited_for() -> None:
    with pytest.raises(AssertionError, match=r"^not within 0.01 s: the end of the world \(last value: 0\)$"):
        await until(lambda: 0, "the end of the world", timeout=0.01)


async def test_until_passes_the_conditions_own_timeout_on() -> None:
    async def slow() -> bool:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        await until(slow, "nothing")


async def test_clock_moves_only_when_advanced() -> None:
    clock = FakeClock(100.0)
    assert clock() == clock() == 100.0
    clock.advance(2.5)
    assert clock() == 102.5
    clock.advance(-3)
    assert clock() == 99.5


async def test_clock_wakes_due_sleepers() -> None:
    clock, woken = FakeClock(), []

    async def nap(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    naps = [asyncio.create_task(nap(seconds)) for seconds in (3.0, 1.0, 2.0)]
    await until(lambda: clock.sleepers == 3, "all sleep")
    await clock.run(2.0)
    assert woken == [1.0, 2.0]
    await clock.run(1.0)
    await asyncio.gather(*naps)
    assert woken == [1.0, 2.0, 3.0]


async def test_clock_runs_through_repeated_sleeps() -> None:
    clock, readings = FakeClock(0.0), []

    async def tick() -> None:
        while True:
            await clock.sleep(1.0)
            readings.append(clock())

    ticking = asyncio.create_task(tick())
    await clock.run(3.5)
    ticking.cancel()
    assert readings == [1.0, 2.0, 3.0]
    assert clock() == 3.5


def test_every_failing_case_is_named() -> None:
    @each_case("number, expected", [(1, 1), (2, 3), (3, 3), (4, 5)])
    def check(number: int, expected: int) -> None:
        assert number == expected

    with pytest.raises(AssertionError, match=r"^2 of 4 cases failed\n---- 1: 2-3 ----\n") as failed:
        check()
    assert "---- 3: 4-5 ----" in str(failed.value)
    assert "assert number == expected" in str(failed.value)


async def test_every_failing_case_is_awaited() -> None:
    @each_case("number", [0, 7, 0], ids=lambda number: f"the {number}")
    async def check(number: int, fixture: int) -> None:
        await asyncio.sleep(0)
        assert number == fixture

    with pytest.raises(AssertionError, match=r"^1 of 3 cases failed\n---- 1: the 7 ----\n"):
        await check(fixture=0)
    assert list(inspect.signature(check).parameters) == ["fixture"]


async def test_a_server_ends_with_a_connection_open() -> None:
    """Otherwise tests wait, from Python 3.12 on, until a client closes its connection."""

    async def hold(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with serving(hold) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", _port(url))
    assert await reader.read() == b""
    writer.close()


async def test_a_relay_ends_with_its_caller() -> None:
    received: asyncio.Queue[bytes] = asyncio.Queue()

    async def record(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            received.put_nowait(data)
        received.put_nowait(b"end")

    async with serving(record) as url, losing_answers(_port(url), times=0) as relay, asyncio.timeout(TIMEOUT):
        _, writer = await asyncio.open_connection("127.0.0.1", _port(relay.target))
        writer.write(b"hello")
        assert await received.get() == b"hello"
        writer.close()
        assert await received.get() == b"end"


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])
