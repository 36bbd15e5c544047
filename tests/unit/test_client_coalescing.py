"""Who travels with whom, and that nobody's trouble is another's. Calls are made by a function of the test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from clarion_client import Accepted, ClarionError, Email, NotFound, RateLimited, TimedOut, Unavailable
from clarion_client.calls import Outcome
from clarion_client.coalescing import Coalescer
from clarion_client.messages import Prepared, prepare

Answer = Callable[[Prepared], Outcome]
PATIENT = 30.0


def message(number: int | str, size: int = 0) -> Prepared:
    event = {"x": "y" * size}
    return prepare(Email(44, external_id="u", email="a@b.cd", request_id=f"r-{number}", event=event))


def accepted(one: Prepared) -> Outcome:
    return Accepted(f"id of {one.request_id}")


class Gateway:
    """Answers calls when it is let to, and keeps who travelled together."""

    def __init__(self, answer: Answer = accepted) -> None:
        self.answer = answer
        self.calls: list[list[str]] = []
        self.seconds: list[float] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def send(self, batch: Sequence[Prepared], seconds: float) -> Sequence[Outcome]:
        self.calls.append([one.request_id for one in batch])
        self.seconds.append(seconds)
        await self.may_answer.wait()
        return [self.answer(one) for one in batch]


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not done():
            await asyncio.sleep(0.001)


async def told(awaited: Awaitable[Accepted]) -> Any:
    """Return the trigger's id, or the kind of error."""
    try:
        return (await awaited).trigger_id
    except ClarionError as error:
        return type(error)


async def test_a_lone_caller_travels_alone_and_at_once() -> None:
    gateway = Gateway()
    assert await told(Coalescer(gateway.send).submit(message(1), PATIENT)) == "id of r-1"
    assert gateway.calls == [["r-1"]]


async def test_callers_of_one_moment_travel_together() -> None:
    gateway = Gateway()
    line = Coalescer(gateway.send)
    answers = await asyncio.gather(*(told(line.submit(message(n), PATIENT)) for n in range(64)))
    assert answers == [f"id of r-{n}" for n in range(64)]
    assert gateway.calls == [[f"r-{n}" for n in range(64)]]


async def test_who_comes_while_calls_are_under_way_forms_the_next_one() -> None:
    gateway = Gateway()
    gateway.may_answer.clear()
    line = Coalescer(gateway.send, calls=2)
    answers = []
    for number in range(10):
        answers.append(line.submit(message(number), PATIENT))
        await asyncio.sleep(0)  # it looks at its line
        await asyncio.sleep(0)  # the call begins
    assert gateway.calls == [["r-0"], ["r-1"]]
    gateway.may_answer.set()
    await asyncio.gather(*answers)
    assert gateway.calls[2:] == [[f"r-{n}" for n in range(2, 10)]]


async def test_calls_that_hang_hold_up_nobody_for_long() -> None:
    gateway = Gateway()
    gateway.may_answer.clear()
    line = Coalescer(gateway.send, calls=1, patience=0.05)
    begun = asyncio.get_running_loop().time()
    hanging = line.submit(message(0), PATIENT)
    await until(lambda: bool(gateway.calls))
    later = [line.submit(message(number), PATIENT) for number in (1, 2)]
    await until(lambda: len(gateway.calls) > 1)
    assert asyncio.get_running_loop().time() - begun >= 0.05
    assert gateway.calls == [["r-0"], ["r-1", "r-2"]]
    gateway.may_answer.set()
    await asyncio.gather(hanging, *later)


async def test_a_thousand_travel_in_a_call_and_a_large_one_alone() -> None:
    gateway = Gateway()
    line = Coalescer(gateway.send)
    answers = [line.submit(message(n), PATIENT) for n in range(1500)]
    answers.append(line.submit(message("large", 250_000), PATIENT))
    await asyncio.gather(*answers)
    assert [len(call) for call in gateway.calls] == [1000, 500, 1]


async def test_who_is_cancelled_in_line_is_not_sent_and_disturbs_nobody() -> None:
    gateway = Gateway()
    gateway.may_answer.clear()
    line = Coalescer(gateway.send, calls=1)
    tasks = [asyncio.create_task(told(line.submit(message(0), PATIENT)))]
    await asyncio.sleep(0.001)
    tasks += [asyncio.create_task(told(line.submit(message(n), PATIENT))) for n in (1, 2, 3)]
    await asyncio.sleep(0.001)
    tasks[0].cancel()  # under way
    tasks[2].cancel()  # in line
    gateway.may_answer.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert gateway.calls == [["r-0"], ["r-1", "r-3"]]
    assert [answers[1], answers[3]] == ["id of r-1", "id of r-3"]
    assert isinstance(answers[0], asyncio.CancelledError)
    assert isinstance(answers[2], asyncio.CancelledError)


async def test_each_caller_has_a_deadline_and_the_call_that_of_the_most_patient() -> None:
    gateway = Gateway()
    gateway.may_answer.clear()
    line = Coalescer(gateway.send)
    hasty, patient = line.submit(message(1), 0.01), line.submit(message(2), PATIENT)
    assert await told(hasty) is TimedOut
    assert gateway.seconds == [pytest.approx(PATIENT / 2, abs=0.1)]
    gateway.may_answer.set()
    assert await told(patient) == "id of r-2"


async def test_an_item_is_refused_alone() -> None:
    gateway = Gateway(lambda one: NotFound() if one.request_id == "r-2" else accepted(one))
    line = Coalescer(gateway.send)
    answers = await asyncio.gather(*(told(line.submit(message(n), PATIENT)) for n in range(4)))
    assert answers == ["id of r-0", "id of r-1", NotFound, "id of r-3"]


async def test_who_failed_together_comes_again_together() -> None:
    gateway = Gateway(lambda one: Unavailable() if len(gateway.calls) < 3 else accepted(one))
    line = Coalescer(gateway.send)
    answers = await asyncio.gather(*(told(line.submit(message(n), PATIENT)) for n in range(20)))
    assert answers == [f"id of r-{n}" for n in range(20)]
    assert [len(call) for call in gateway.calls] == [20, 20, 20]


async def test_who_met_a_limit_comes_again_after_the_wait() -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()

    def answer(one: Prepared) -> Outcome:
        limited = one.request_id == "r-1" and loop.time() < begun + 0.2
        return RateLimited(retry_after=0.2) if limited else accepted(one)

    gateway = Gateway(answer)
    line = Coalescer(gateway.send)
    answers = await asyncio.gather(*(told(line.submit(message(n), PATIENT)) for n in range(3)))
    assert answers == ["id of r-0", "id of r-1", "id of r-2"]
    assert gateway.calls == [["r-0", "r-1", "r-2"], ["r-1"]]
    assert loop.time() - begun >= 0.2


async def test_who_has_no_time_for_another_try_is_told_why() -> None:
    line = Coalescer(Gateway(lambda _: Unavailable(retry_after=9.0)).send)
    assert await told(line.submit(message(1), 5.0)) is Unavailable


async def test_who_was_refused_for_a_rate_and_waits_in_line_is_told_that_and_not_that_nobody_knows() -> None:
    gateway = Gateway(lambda _: RateLimited(retry_after=0.1))
    line = Coalescer(gateway.send, calls=1, patience=PATIENT)
    limited = line.submit(message(1), 0.4)
    await until(lambda: bool(gateway.calls))
    gateway.may_answer.clear()
    hanging = line.submit(message(2), PATIENT)  # holds up the others
    assert await told(limited) is RateLimited
    assert gateway.calls == [["r-1"], ["r-2"]]
    hanging.cancel()


async def test_a_fault_of_the_client_itself_reaches_those_whom_it_concerns() -> None:
    async def send(batch: Sequence[Prepared], seconds: float) -> Sequence[Outcome]:
        raise KeyError("broken")

    line = Coalescer(send)
    with pytest.raises(KeyError):
        await line.submit(message(1), PATIENT)


async def test_draining_lets_all_come_to_their_answers() -> None:
    gateway = Gateway(lambda one: Unavailable() if len(gateway.calls) < 2 else accepted(one))
    line = Coalescer(gateway.send, calls=1)
    answers = [line.submit(message(n), PATIENT) for n in range(3)]
    await line.drain()
    assert [answer.result().trigger_id for answer in answers] == ["id of r-0", "id of r-1", "id of r-2"]
