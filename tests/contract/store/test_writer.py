"""The group committer: durable before yes, many to a commit, and exactly once through lost connections."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from server.domain.placement import Placement
from server.errors import Overloaded, StoreUnavailable
from server.store.pool import Pool
from tests.kit.store import PLACE, a_trigger, held_commits, waiting_backends, writing
from tests.kit.until import until

COUNTS = """
    SELECT (SELECT count(*) FROM trigger) AS triggers, (SELECT count(*) FROM queue) AS queued,
        (SELECT count(*) FROM trigger JOIN queue ON trigger.id = queue.trigger_id) AS both
"""


async def counts(pool: Pool) -> tuple[int, int, int]:
    row = await pool.fetchrow(COUNTS)
    assert row
    return row["triggers"], row["queued"], row["both"]


async def test_what_was_accepted_is_there_as_it_was_given(pool: Pool) -> None:
    trigger = a_trigger(
        timezone="UTC", locale="pt-BR", user_data='{"a":  1}', event='{"n": 12345678901234567890}'
    )
    async with writing(pool) as writer:
        await writer.add(trigger, Placement("email/smtp"))
        row = await pool.fetchrow("SELECT * FROM trigger JOIN queue ON id = trigger_id")
    assert row
    for name in ("id", "project_id", "campaign_id", "channel", "external_id", "address"):
        assert row[name] == getattr(trigger, name)
    assert (row["timezone"], row["locale"]) == ("UTC", "pt-BR")
    assert (row["user_data"], row["event"]) == (trigger.user_data, trigger.event)
    assert (row["lane"], row["attempt"], row["claimed_by"]) == ("email/smtp", 0, None)


async def test_five_hundred_at_once_share_a_few_commits(pool: Pool) -> None:
    triggers = [a_trigger() for _ in range(500)]
    async with writing(pool) as writer:

        async def add_and_look(number: int) -> None:
            await writer.add(triggers[number], PLACE)
            if number % 50 == 0:
                assert await pool.fetchval("SELECT true FROM trigger WHERE id = $1", triggers[number].id)

        await asyncio.gather(*(add_and_look(number) for number in range(500)))
    assert await counts(pool) == (500, 500, 500)
    assert await pool.fetchval("SELECT count(DISTINCT xmin::text) FROM trigger") <= 3


async def test_more_than_a_batch_is_committed_in_several(pool: Pool) -> None:
    async with writing(pool) as writer:
        await asyncio.gather(*(writer.add(a_trigger(), PLACE) for _ in range(1200)))
    assert await counts(pool) == (1200, 1200, 1200)
    assert 3 <= await pool.fetchval("SELECT count(DISTINCT xmin::text) FROM trigger") <= 6


async def test_too_many_waiting_are_refused_and_the_others_accepted(pool: Pool, url: str) -> None:
    async with writing(pool, max_pending=3) as writer:
        async with held_commits(url) as holder:
            first = asyncio.create_task(writer.add(a_trigger(), PLACE))
            await until(lambda: waiting_backends(holder), "a statement waits for the lock")
            others = [asyncio.create_task(writer.add(a_trigger(), PLACE)) for _ in range(3)]
            await asyncio.sleep(0)
            with pytest.raises(Overloaded):
                await writer.add(a_trigger(), PLACE)
        await asyncio.gather(first, *others)
    assert await counts(pool) == (4, 4, 4)


async def test_a_caller_who_gave_up_before_the_commit_leaves_nothing(pool: Pool, url: str) -> None:
    async with writing(pool) as writer:
        async with held_commits(url) as holder:
            first = asyncio.create_task(writer.add(a_trigger(), PLACE))
            await until(lambda: waiting_backends(holder), "a statement waits for the lock")
            second = asyncio.create_task(writer.add(a_trigger(), PLACE))
            await asyncio.sleep(0)
            second.cancel()
            await asyncio.gather(second, return_exceptions=True)
        await first
        await writer.add(a_trigger(), PLACE)
    assert await counts(pool) == (2, 2, 2)


async def test_a_commit_whose_backend_was_killed_is_made_again_once(pool: Pool, url: str) -> None:
    triggers = [a_trigger() for _ in range(10)]
    async with writing(pool) as writer:
        async with held_commits(url) as holder:
            adding = asyncio.gather(*(writer.add(trigger, PLACE) for trigger in triggers))
            await until(lambda: waiting_backends(holder), "a statement waits for the lock")
            [pid] = await waiting_backends(holder)
            await holder.execute("SELECT pg_terminate_backend($1)", pid)
            await until(lambda: _another_waits(holder, pid), "another statement waits for the lock")
        await asyncio.wait_for(adding, 60)
    assert await counts(pool) == (10, 10, 10)


async def _another_waits(holder: Any, pid: int) -> bool:
    return bool({*await waiting_backends(holder)} - {pid})


async def test_commit_with_a_lost_answer_is_not_repeated(pool: Pool, url: str) -> None:
    triggers = [a_trigger() for _ in range(10)]
    async with writing(pool) as writer:
        async with held_commits(url) as holder:
            adding = asyncio.gather(*(writer.add(trigger, PLACE) for trigger in triggers))
            await until(lambda: waiting_backends(holder), "a statement waits for the lock")
            [pid] = await waiting_backends(holder)
            _lose_connections(pool)
            await until(lambda: _another_waits(holder, pid), "another statement waits for the lock")
            assert pid in await waiting_backends(holder)
        await asyncio.wait_for(adding, 60)
    assert await counts(pool) == (10, 10, 10)


def _lose_connections(pool: Pool) -> None:
    """Drop the client's side of every connection, as a failing network does."""
    holders: list[Any] = pool._holders  # type: ignore[attr-defined]
    for holder in holders:
        if holder._con is not None:
            holder._con._transport.abort()


@pytest.mark.parametrize(
    "poison", [{"external_id": "a\0b"}, {"event": '{"a": "\ud800"}'}, {"campaign_id": 2**63}]
)
async def test_a_row_that_the_database_refuses_fails_alone(pool: Pool, poison: dict[str, Any]) -> None:
    triggers = [a_trigger(), a_trigger(**poison), a_trigger(), a_trigger()]
    async with writing(pool) as writer:
        adding = (writer.add(trigger, PLACE) for trigger in triggers)
        results = await asyncio.gather(*adding, return_exceptions=True)
        assert [results[n] for n in (0, 2, 3)] == [triggers[n].id for n in (0, 2, 3)]
        assert isinstance(results[1], Exception)
        assert not isinstance(results[1], StoreUnavailable)
        await writer.add(a_trigger(), PLACE)
    assert await counts(pool) == (4, 4, 4)


async def test_callers_are_not_left_waiting_when_the_writer_ends(pool: Pool, url: str) -> None:
    async with held_commits(url) as holder:
        async with writing(pool) as writer:
            first = asyncio.create_task(writer.add(a_trigger(), PLACE))
            await until(lambda: waiting_backends(holder), "a statement waits for the lock")
            second = asyncio.create_task(writer.add(a_trigger(), PLACE))
            await asyncio.sleep(0)
        results = await asyncio.wait_for(asyncio.gather(first, second, return_exceptions=True), 60)
    assert [type(result) for result in results] == [StoreUnavailable, StoreUnavailable]
