"""Coalescing against the running product: each trigger has the outcome that it would have alone."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from clarion_client import (
    Accepted,
    AsyncClient,
    ClarionError,
    Client,
    Email,
    InvalidRequest,
    Message,
    Push,
    Text,
)
from server.domain.key import Scope, new_secret
from server.domain.limit import OwnLimit
from server.store.admin import keys, projects
from server.store.pool import Pool
from tests.contract.conftest import OTHERS_CAMPAIGN, PAUSED_CAMPAIGN, Keys
from tests.kit.cut_connections import losing_answers
from tests.kit.stack import Stack

USER: Any = {"external_id": "u-1", "email": "test@test.com"}
CALLERS = 500
USED = f"used-{uuid.uuid4()}"


def any_message(chance: random.Random) -> Message:
    """Return a random message, valid or invalid in one of many ways."""
    makers: list[Callable[[], Message]] = [
        lambda: Email(44, event={"n": chance.getrandbits(90)}, **USER),
        lambda: Text(45, external_id="u-1", phone="+12025550123"),
        lambda: Push(46, external_id="u-1", device_token="abcdefgh", data={"a": [1]}),
        lambda: Email(44, external_id="", email="missing-domain@", timezone="Mars/Base"),
        lambda: Email(45, **USER),
        lambda: Email(chance.choice([0, -1, 999, OTHERS_CAMPAIGN, PAUSED_CAMPAIGN]), **USER),
        lambda: Text(45, external_id="u\n1", phone="12", locale="not a locale"),
        lambda: Email(44, event=chance.choice(["{", "[1]", '{"a": NaN}', "x" * 70_000]), **USER),
        lambda: Email(44, request_id="no spaces please", **USER),
        lambda: Email(44, request_id=USED, event={"n": chance.getrandbits(90)}, **USER),
        lambda: Email(44, event="x" * 280_000, **USER) if chance.random() < 0.1 else Email(44, **USER),
    ]  # fmt: skip
    return chance.choice(makers)()


def details_of(outcome: Accepted | BaseException) -> object:
    """Return what a caller can see of an outcome, without `replayed`."""
    if isinstance(outcome, Accepted):
        return outcome.trigger_id
    assert isinstance(outcome, ClarionError), outcome
    details = (outcome.code, outcome.reason, outcome.metadata, outcome.violations, outcome.request_id)
    return (type(outcome), str(outcome), *details)


async def trigger_all(clarion: AsyncClient, messages: Sequence[Message]) -> list[Accepted | BaseException]:
    tasks = (clarion.trigger(message, timeout=30) for message in messages)
    return await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("seed", [1, 2])
async def test_coalescing_does_not_change_outcomes(seed: int, stack: Stack, secrets: Keys) -> None:
    chance = random.Random(seed)  # noqa: S311
    messages = [any_message(chance) for _ in range(CALLERS)]
    async with (
        AsyncClient(stack.url, secrets.good) as together,
        AsyncClient(stack.url, secrets.good, coalesce=False) as alone,
    ):
        await trigger_all(alone, [Email(44, request_id=USED, **USER)])
        first = await trigger_all(together, messages)
        # Accepted messages have the same ID again, with `replayed` set.
        portions = [messages[start : start + 50] for start in range(0, CALLERS, 50)]
        again = [one for portion in portions for one in await trigger_all(alone, portion)]
    assert list(map(details_of, first)) == list(map(details_of, again))
    accepted = [(one, two) for one, two in zip(first, again, strict=True) if isinstance(one, Accepted)]
    assert CALLERS / 10 < len(accepted) < CALLERS
    assert all(not one.replayed and isinstance(two, Accepted) and two.replayed for one, two in accepted)


async def test_lost_batch_response_causes_no_duplicates(stack: Stack, pool: Pool) -> None:
    mark = str(uuid.uuid4())
    messages = [Email(44, event={"mark": mark, "n": number}, **USER) for number in range(50)]
    async with losing_answers(stack.port, times=2) as cut, AsyncClient(cut.target, stack.key) as clarion:
        outcomes = await trigger_all(clarion, messages)
    assert all(isinstance(one, Accepted) and one.replayed for one in outcomes), outcomes
    assert await pool.fetchval("SELECT count(*) FROM trigger WHERE event LIKE $1", f"%{mark}%") == 50


async def test_rate_limited_items_are_retried_after_their_wait(stack: Stack, pool: Pool) -> None:
    secret = new_secret()
    project = await projects.ensure_project(pool, "demo")
    limit = OwnLimit(rate=100, burst=20)
    await keys.create_key(pool, secret, project_id=project, name="slow", scopes={Scope.TRIGGER}, limit=limit)
    await stack.until_key_works(secret)
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with AsyncClient(stack.url, secret) as clarion:
        outcomes = await trigger_all(clarion, [Email(44, **USER) for _ in range(60)])
    assert all(isinstance(one, Accepted) for one in outcomes), outcomes
    assert loop.time() - started > 0.3  # 40 more than the burst, at 100 a second


async def test_cancelled_caller_does_not_affect_others(stack: Stack) -> None:
    async with AsyncClient(stack.url, stack.key) as clarion:
        tasks = [asyncio.create_task(clarion.trigger(Email(44, **USER))) for _ in range(40)]
        await asyncio.sleep(0)  # the tasks hand their messages to the client
        for task in tasks[::2]:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in outcomes[::2])
    assert all(isinstance(one, Accepted) for one in outcomes[1::2])


@pytest.mark.parametrize("kind", [Client, AsyncClient])
async def test_large_batch_has_an_outcome_per_message(
    kind: type[Client] | type[AsyncClient], stack: Stack
) -> None:
    messages = [Email(44, **USER) for _ in range(1100)]
    messages[7] = Email(44, external_id="u-1", email="missing-domain@")
    messages[1050] = Email(44, event="x" * 280_000, **USER)
    if kind is Client:
        with Client(stack.url, stack.key) as clarion:
            outcomes = await asyncio.to_thread(clarion.trigger_batch, messages, timeout=30)
    else:
        async with AsyncClient(stack.url, stack.key) as clarion:
            outcomes = await clarion.trigger_batch(messages, timeout=30)
    refused = {index: one for index, one in enumerate(outcomes) if isinstance(one, ClarionError)}
    assert len(outcomes) == 1100
    assert {index: error.reason for index, error in refused.items()} == {
        7: "INVALID_REQUEST", 1050: "BODY_TOO_LARGE",
    }  # fmt: skip
    assert isinstance(refused[7], InvalidRequest)
    assert refused[7].violations[0].field == "user.email"
    assert len({one.trigger_id for one in outcomes if isinstance(one, Accepted)}) == 1098
