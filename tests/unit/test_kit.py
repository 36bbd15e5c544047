"""The tests' own clock and their way to wait."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from tests.kit.cases import each_case
from tests.kit.clock import FakeClock
from tests.kit.until import until


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
