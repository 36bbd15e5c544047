"""Lists of deliveries by state and filter, and the backlog in figures."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from server.domain.campaign import Channel
from server.domain.delivery import Claim, ClaimRequest, DeliveryState, Released
from server.domain.placement import Placement
from server.domain.trigger import Trigger
from server.store.pool import Pool
from server.store.queue.triggers import PostgresQueue
from server.store.records import admin_lists
from server.store.records.admin_lists import (
    AdminFilter,
    Backlog,
    backlog,
    dead_letters,
    oldest_due,
)
from server.store.records.cancel import cancel
from server.store.records.find import find_delivery
from tests.kit.outcomes import DEAD, DELIVERED, RETRY, SUPPRESSED
from tests.kit.store import a_trigger, accept, ended, list_deliveries, shares

PENDING, SENDING, RETRYING = DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.RETRYING
HOUR = dt.timedelta(hours=1)


async def in_every_state(pool: Pool) -> dict[DeliveryState, Trigger]:
    """Make one delivery of each state, each with an external id of that name."""
    triggers = {state: a_trigger(external_id=state.value) for state in DeliveryState}
    waiting, cancelled = triggers.pop(PENDING), triggers[DeliveryState.CANCELLED]
    await accept(pool, cancelled)
    assert await cancel(pool, cancelled.id)
    await accept(pool, *(one for one in triggers.values() if one is not cancelled))
    queue = PostgresQueue(pool)
    claims = {DeliveryState(one.trigger.external_id): one for one in await queue.claim(shares(sandbox=9), 60)}
    await queue.finish(
        [
            ended(claims[RETRYING], RETRY, retry_in=600, error="451 later"),
            ended(claims[DeliveryState.DELIVERED], DELIVERED),
            ended(claims[DeliveryState.DEAD], DEAD, error="550 no"),
            ended(claims[DeliveryState.SUPPRESSED], SUPPRESSED, error="550 refused before"),
        ]
    )
    await accept(pool, waiting)
    return {**triggers, PENDING: waiting}


@pytest.mark.parametrize("state", [*DeliveryState, None])
async def test_deliveries_are_listed_by_their_state(pool: Pool, state: DeliveryState | None) -> None:
    triggers = await in_every_state(pool)
    found = await list_deliveries(pool, state, AdminFilter(), 50)
    expected = [state] if state else [*DeliveryState]
    assert {one.external_id: one.state for one in found} == {one.value: one for one in expected}
    for line in found:
        shown = await find_delivery(pool, line.trigger_id)
        assert shown
        assert shown.state is line.state
        assert line.trigger_id == triggers[line.state].id


async def test_line_shows_attempts_provider_and_last_outcome(pool: Pool) -> None:
    await in_every_state(pool)
    found = {line.state: line for line in await list_deliveries(pool, None, AdminFilter(), 50)}
    assert {state: (one.attempts, one.provider, one.error) for state, one in found.items()} == {
        PENDING: (0, "", ""),
        SENDING: (0, "", ""),
        RETRYING: (1, "sandbox", "451 later"),
        DeliveryState.DELIVERED: (1, "sandbox", ""),
        DeliveryState.DEAD: (1, "sandbox", "550 no"),
        DeliveryState.SUPPRESSED: (1, "sandbox", "550 refused before"),
        DeliveryState.CANCELLED: (0, "", ""),
    }


async def test_suppressed_second_attempt_is_listed_once(pool: Pool) -> None:
    trigger, queue = a_trigger(), PostgresQueue(pool)
    await accept(pool, trigger)
    for number in range(2):
        [claim] = await queue.claim(shares(sandbox=1), 60)
        outcome = ended(claim, SUPPRESSED) if number else ended(claim, RETRY, retry_in=0)
        await queue.finish([outcome])
    [line] = await list_deliveries(pool, DeliveryState.SUPPRESSED, AdminFilter(), 50)
    assert (line.trigger_id, line.attempts) == (trigger.id, 2)


async def test_trigger_outside_its_window_is_pending_with_a_time(pool: Pool) -> None:
    trigger, queue = a_trigger(), PostgresQueue(pool)
    await accept(pool, trigger)
    [claim] = await queue.claim(shares(sandbox=1), 60)
    await queue.release([Released(claim, 3600)])
    [line] = await list_deliveries(pool, PENDING, AdminFilter(), 50)
    assert (line.trigger_id, line.attempts) == (trigger.id, 0)


async def test_the_newest_come_first_and_no_more_than_wanted(pool: Pool) -> None:
    triggers = [a_trigger() for _ in range(5)]
    await accept(pool, *triggers)
    found = await list_deliveries(pool, None, AdminFilter(), 3)
    assert [one.trigger_id for one in found] == [one.id for one in reversed(triggers)][:3]


@pytest.mark.parametrize("state", [None, PENDING])
@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (AdminFilter(campaign_id=45), "b"),
        (AdminFilter(campaign_id=44), "acd"),
        (AdminFilter(channel=Channel.TEXT), "c"),
        (AdminFilter(external_id="a"), "a"),
        (AdminFilter(external_id="A"), ""),
        (AdminFilter(project="two"), "d"),
        (AdminFilter(project="one", campaign_id=44, channel=Channel.EMAIL), "a"),
        (AdminFilter(project="none"), ""),
        (AdminFilter(since=dt.datetime.now(dt.UTC) - HOUR), "abcd"),
        (AdminFilter(since=dt.datetime.now(dt.UTC) + HOUR), ""),
        (AdminFilter(error=""), "abcd"),
        (AdminFilter(error="x"), ""),  # they have no error yet
    ],
)
async def test_deliveries_are_filtered(
    pool: Pool, wanted: AdminFilter, expected: str, state: DeliveryState | None
) -> None:
    await accept(
        pool,
        a_trigger(external_id="a"),
        a_trigger(external_id="b", campaign_id=45),
        a_trigger(external_id="c", channel=Channel.TEXT),
        a_trigger(external_id="d", project_id=2),
    )
    found = await list_deliveries(pool, state, wanted, 50)
    assert "".join(sorted(one.external_id for one in found)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100%", ["quota at 100% used"]),
        ("0_1", ["code 0_1"]),
        ("\\", ["path C:\\temp"]),
        ("C:\\T", ["path C:\\temp"]),
        ("'; DROP TABLE queue; --", []),
        ("QUOTA", ["quota at 100% used", "quota at 1000 used"]),
        ("%", ["quota at 100% used"]),
        ("_", ["code 0_1"]),
    ],
)
async def test_an_error_is_looked_for_as_it_is_written(pool: Pool, text: str, expected: list[str]) -> None:
    errors = ["quota at 100% used", "quota at 1000 used", "code 0_1", "code 011", "path C:\\temp"]
    queue = PostgresQueue(pool)
    await accept(pool, *(a_trigger() for _ in errors))
    claims = await queue.claim(shares(sandbox=9), 60)
    await queue.finish([ended(claim, DEAD, error=error) for claim, error in zip(claims, errors, strict=True)])
    found = await list_deliveries(pool, DeliveryState.DEAD, AdminFilter(error=text), 50)
    assert sorted(one.error for one in found) == sorted(expected)


async def aged(pool: Pool, lane: str, *ages: float) -> None:
    """Put triggers into a lane that have been due for this many seconds; negative: are due later."""
    channel = Channel(lane.partition("/")[0])
    for age in ages:
        trigger = a_trigger(channel=channel)
        await accept(pool, trigger, place=Placement(lane))
        await pool.execute(
            "UPDATE queue SET due_at = now() - make_interval(secs => $2) WHERE trigger_id = $1",
            trigger.id,
            age,
        )


async def take(pool: Pool, lane: str, count: int) -> list[Claim]:
    return await PostgresQueue(pool).claim([ClaimRequest(lane, lane.partition("/")[2], count)], 60)


async def test_backlog_counts_due_later_and_held_by_lane(pool: Pool) -> None:
    assert await backlog(pool) == []
    await aged(pool, "email/a,b", 100, 90, 80, -50)
    await aged(pool, "text/a", -1000)
    await aged(pool, "push/a", 5)
    assert len(await take(pool, "email/a,b", 1)) == 1
    assert len(await take(pool, "push/a", 1)) == 1
    email, *others = await backlog(pool)
    assert replace(email, oldest_due=0.0) == Backlog(Channel.EMAIL, "a,b", 2, 1, 1, 0.0)
    assert email.oldest_due == pytest.approx(90, abs=5)
    assert others == [
        Backlog(Channel.PUSH, "a", 0, 0, 1, 0.0),
        Backlog(Channel.TEXT, "a", 0, 1, 0, 0.0),
    ]


async def test_backlog_says_if_more_may_wait(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_lists, "MOST_COUNTED", 3)
    await aged(pool, "email/a", 10, 20, 30, 40, -50, -60)
    await aged(pool, "push/a", 10, 20, -50, -60, -70, -80)
    assert len(await take(pool, "push/a", 1)) == 1
    email, push = await backlog(pool)
    assert (email.due, email.later, email.more_due, email.more_later) == (3, 2, True, False)
    assert (push.due, push.later, push.sending, push.more_due, push.more_later) == (1, 2, 1, False, True)


async def test_claims_of_a_dead_dispatcher_count_as_due(pool: Pool) -> None:
    await aged(pool, "email/a", 5)
    [claim] = await PostgresQueue(pool).claim([ClaimRequest("email/a", "a", 1)], -1.0)  # its lease has ended
    found = await find_delivery(pool, claim.trigger.id)
    assert found
    assert found.state is RETRYING
    assert [replace(one, oldest_due=0.0) for one in await backlog(pool)] == [
        Backlog(Channel.EMAIL, "a", 1, 0, 0, 0.0)
    ]


async def test_age_of_the_oldest_due_trigger_by_channel(pool: Pool) -> None:
    lanes = ["email/a", "email/a,b", "text/a", "push/a"]
    assert await oldest_due(pool, lanes) == {}
    await aged(pool, "email/a", 10, 20)
    await aged(pool, "email/a,b", 300)
    await aged(pool, "text/a", -10)
    assert await oldest_due(pool, lanes) == {Channel.EMAIL: pytest.approx(300, abs=5)}
    assert await oldest_due(pool, ["email/a"]) == {Channel.EMAIL: pytest.approx(20, abs=5)}
    assert await oldest_due(pool, []) == {}
    await take(pool, "email/a,b", 1)
    assert await oldest_due(pool, lanes) == {Channel.EMAIL: pytest.approx(20, abs=5)}


async def test_dead_letters_are_counted(pool: Pool) -> None:
    assert await dead_letters(pool) == 0
    await in_every_state(pool)
    assert await dead_letters(pool) == 1
