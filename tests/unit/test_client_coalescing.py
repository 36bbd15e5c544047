"""Coalescing of messages into calls, with a fake gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from clarion_client import Accepted, ClarionError, Email, NotFound, RateLimited, TimedOut, Unavailable
from clarion_client.calls import Outcome
from clarion_client.coalescing import Coalescer
from clarion_client.prepare import Prepared, prepare
from tests.kit.until import until

Respond = Callable[[Prepared], Outcome]
LONG = 30.0


def message(number: int | str, size: int = 0) -> Prepared:
    event = {"x": "y" * size}
    return prepare(Email(44, external_id="u", email="a@b.cd", request_id=f"r-{number}", event=event))


def accepted(one: Prepared) -> Outcome:
    return Accepted(f"id of {one.request_id}")


class Gateway:
    """Responds to calls once `may_respond` is set, and records the request IDs of each call."""

    def __init__(self, respond: Respond = accepted) -> None:
        self.respond = respond
        self.calls: list[list[str]] = []
        self.seconds: list[float] = []
        self.may_respond = asyncio.Event()
        self.may_respond.set()

    async def send(self, batch: Sequence[Prepared], seconds: float) -> Sequence[Outcome]:
        self.calls.append([one.request_id for one in batch])
        self.seconds.append(seconds)
        await self.may_respond.wait()
        return [self.respond(one) for one in batch]


async def outcome_of(awaited: Awaitable[Accepted]) -> Any:
    """Return the trigger's id, or the kind of error."""
    try:
        return (await awaited).trigger_id
    except ClarionError as error:
        return type(error)


async def test_single_message_is_sent_alone() -> None:
    gateway = Gateway()
    assert await outcome_of(Coalescer(gateway.send).submit(message(1), LONG)) == "id of r-1"
    assert gateway.calls == [["r-1"]]


async def test_simultaneous_messages_share_a_call() -> None:
    gateway = Gateway()
    coalescer = Coalescer(gateway.send)
    answers = await asyncio.gather(*(outcome_of(coalescer.submit(message(n), LONG)) for n in range(64)))
    assert answers == [f"id of r-{n}" for n in range(64)]
    assert gateway.calls == [[f"r-{n}" for n in range(64)]]


async def test_messages_during_calls_form_the_next_call() -> None:
    gateway = Gateway()
    gateway.may_respond.clear()
    coalescer = Coalescer(gateway.send, max_calls=2)
    answers = []
    for number in range(10):
        answers.append(coalescer.submit(message(number), LONG))
        await asyncio.sleep(0)  # the batch starts
        await asyncio.sleep(0)  # the call starts
    assert gateway.calls == [["r-0"], ["r-1"]]
    gateway.may_respond.set()
    await asyncio.gather(*answers)
    assert gateway.calls[2:] == [[f"r-{n}" for n in range(2, 10)]]


async def test_hanging_call_releases_its_slot() -> None:
    gateway = Gateway()
    gateway.may_respond.clear()
    coalescer = Coalescer(gateway.send, max_calls=1, slot_seconds=0.05)
    started = asyncio.get_running_loop().time()
    hanging = coalescer.submit(message(0), LONG)
    await until(lambda: gateway.calls, "the first call")
    later = [coalescer.submit(message(number), LONG) for number in (1, 2)]
    await until(lambda: len(gateway.calls) > 1, "the second call")
    assert asyncio.get_running_loop().time() - started >= 0.05
    assert gateway.calls == [["r-0"], ["r-1", "r-2"]]
    gateway.may_respond.set()
    await asyncio.gather(hanging, *later)


async def test_calls_are_limited_to_a_thousand_messages() -> None:
    gateway = Gateway()
    coalescer = Coalescer(gateway.send)
    answers = [coalescer.submit(message(n), LONG) for n in range(1500)]
    answers.append(coalescer.submit(message("large", 250_000), LONG))
    await asyncio.gather(*answers)
    assert [len(call) for call in gateway.calls] == [1000, 500, 1]


async def test_cancelled_pending_message_is_not_sent() -> None:
    gateway = Gateway()
    gateway.may_respond.clear()
    coalescer = Coalescer(gateway.send, max_calls=1)
    tasks = [asyncio.create_task(outcome_of(coalescer.submit(message(0), LONG)))]
    await until(lambda: gateway.calls, "the first call")
    tasks += [asyncio.create_task(outcome_of(coalescer.submit(message(n), LONG))) for n in (1, 2, 3)]
    await asyncio.sleep(0)  # each task submits its message
    tasks[0].cancel()  # in flight
    tasks[2].cancel()  # pending
    gateway.may_respond.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert gateway.calls == [["r-0"], ["r-1", "r-3"]]
    assert [answers[1], answers[3]] == ["id of r-1", "id of r-3"]
    assert isinstance(answers[0], asyncio.CancelledError)
    assert isinstance(answers[2], asyncio.CancelledError)


async def test_call_uses_the_latest_deadline() -> None:
    gateway = Gateway()
    gateway.may_respond.clear()
    coalescer = Coalescer(gateway.send)
    short, long = coalescer.submit(message(1), 0.01), coalescer.submit(message(2), LONG)
    assert await outcome_of(short) is TimedOut
    assert gateway.seconds == [pytest.approx(LONG / 2, abs=0.1)]
    gateway.may_respond.set()
    assert await outcome_of(long) == "id of r-2"


async def test_rejected_message_does_not_affect_others() -> None:
    gateway = Gateway(lambda one: NotFound() if one.request_id == "r-2" else accepted(one))
    coalescer = Coalescer(gateway.send)
    answers = await asyncio.gather(*(outcome_of(coalescer.submit(message(n), LONG)) for n in range(4)))
    assert answers == ["id of r-0", "id of r-1", NotFound, "id of r-3"]


async def test_failed_messages_are_retried_together() -> None:
    gateway = Gateway(lambda one: Unavailable() if len(gateway.calls) < 3 else accepted(one))
    coalescer = Coalescer(gateway.send)
    answers = await asyncio.gather(*(outcome_of(coalescer.submit(message(n), LONG)) for n in range(20)))
    assert answers == [f"id of r-{n}" for n in range(20)]
    assert [len(call) for call in gateway.calls] == [20, 20, 20]


async def test_rate_limited_message_is_retried_after_its_wait() -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()

    def answer(one: Prepared) -> Outcome:
        limited = one.request_id == "r-1" and loop.time() < started + 0.2
        return RateLimited(retry_after=0.2) if limited else accepted(one)

    gateway = Gateway(answer)
    coalescer = Coalescer(gateway.send)
    answers = await asyncio.gather(*(outcome_of(coalescer.submit(message(n), LONG)) for n in range(3)))
    assert answers == ["id of r-0", "id of r-1", "id of r-2"]
    assert gateway.calls == [["r-0", "r-1", "r-2"], ["r-1"]]
    assert loop.time() - started >= 0.2


async def test_error_is_raised_if_no_time_is_left_to_retry() -> None:
    coalescer = Coalescer(Gateway(lambda _: Unavailable(retry_after=9.0)).send)
    assert await outcome_of(coalescer.submit(message(1), 5.0)) is Unavailable


async def test_pending_rate_limited_message_fails_as_rate_limited() -> None:
    gateway = Gateway(lambda _: RateLimited(retry_after=1.0))
    coalescer = Coalescer(gateway.send, max_calls=1, slot_seconds=LONG)
    limited = coalescer.submit(message(1), 1.5)
    await until(lambda: gateway.calls, "the first call")
    gateway.may_respond.clear()
    hanging = coalescer.submit(message(2), LONG)  # occupies the only slot
    assert await outcome_of(limited) is RateLimited
    assert gateway.calls == [["r-1"], ["r-2"]]
    hanging.cancel()


async def test_bug_in_the_client_reaches_the_callers() -> None:
    async def send(batch: Sequence[Prepared], seconds: float) -> Sequence[Outcome]:
        raise KeyError("broken")

    coalescer = Coalescer(send)
    with pytest.raises(KeyError):
        await coalescer.submit(message(1), LONG)


async def test_drain_waits_for_all_results() -> None:
    gateway = Gateway(lambda one: Unavailable() if len(gateway.calls) < 2 else accepted(one))
    coalescer = Coalescer(gateway.send, max_calls=1)
    answers = [coalescer.submit(message(n), LONG) for n in range(3)]
    await coalescer.drain()
    assert [answer.result().trigger_id for answer in answers] == ["id of r-0", "id of r-1", "id of r-2"]
