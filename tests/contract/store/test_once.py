"""Idempotency keys in the database: one trigger per key while it is remembered, also for concurrent calls."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence

import pytest

from server.domain.idempotency import IdempotencyKey
from server.domain.trigger import Trigger
from server.errors import IdempotencyKeyReused
from server.store.accept.group_commit import TriggerWriter
from server.store.pool import Pool
from server.store.retention import delete_keys
from tests.kit.store import PLACE, a_trigger, held_commits, waiting_backends, writing
from tests.kit.until import until

DAY = 86_400


async def queued(pool: Pool) -> int:
    count: int = await pool.fetchval("SELECT count(*) FROM queue JOIN trigger ON id = trigger_id")
    return count


async def add(writer: TriggerWriter, *triggers: Trigger, key: str = "k") -> Sequence[object]:
    """Add triggers under one key; return the ids of those that were kept, or the errors."""
    adding = (writer.add(trigger, PLACE, IdempotencyKey.of(key, trigger)) for trigger in triggers)
    return await asyncio.gather(*adding, return_exceptions=True)


async def test_calls_of_one_key_in_one_commit_are_one_trigger(pool: Pool) -> None:
    triggers = [a_trigger() for _ in range(50)]
    async with writing(pool) as writer:
        kept = await add(writer, *triggers)
    assert set(kept) == {triggers[0].id}
    assert await queued(pool) == 1


async def test_two_writers_of_one_key_keep_one_trigger(pool: Pool) -> None:
    async with writing(pool) as one, writing(pool) as other:
        answers = await asyncio.gather(
            *(add(writer, a_trigger()) for _ in range(50) for writer in (one, other))
        )
    assert len({kept for (kept,) in answers}) == 1
    assert await queued(pool) == 1


async def test_writers_with_common_keys_do_not_deadlock(pool: Pool) -> None:
    keys = [f"k{number}" for number in range(20)]
    async with writing(pool) as one, writing(pool) as other:
        for _ in range(10):
            forward = [one.add(t := a_trigger(), PLACE, IdempotencyKey.of(key, t)) for key in keys]
            backward = [
                other.add(t := a_trigger(), PLACE, IdempotencyKey.of(key, t)) for key in reversed(keys)
            ]
            await asyncio.wait_for(asyncio.gather(*forward, *backward), 60)
    assert await queued(pool) == len(keys)


async def test_keyed_and_other_triggers_share_a_commit(pool: Pool) -> None:
    keyed, free = a_trigger(), [a_trigger() for _ in range(20)]
    async with writing(pool) as writer:
        kept = await asyncio.gather(
            writer.add(keyed, PLACE, IdempotencyKey.of("k", keyed)), *(writer.add(one, PLACE) for one in free)
        )
    assert kept == [keyed.id, *(one.id for one in free)]
    assert await queued(pool) == 21


async def test_other_content_is_refused_and_its_neighbours_are_not(pool: Pool) -> None:
    first, neighbour = a_trigger(event='{"a": 1}'), a_trigger()
    async with writing(pool) as writer:
        await add(writer, first)
        refused, taken = await asyncio.gather(
            *(add(writer, a_trigger(event='{"a": 2}')), add(writer, neighbour, key="other"))
        )
    assert isinstance(refused[0], IdempotencyKeyReused)
    assert refused[0].metadata == {"trigger_id": str(first.id)}
    assert taken == [neighbour.id]
    assert await queued(pool) == 2


async def test_projects_have_keys_of_their_own(pool: Pool) -> None:
    one, other = a_trigger(project_id=1), a_trigger(project_id=2)
    async with writing(pool) as writer:
        assert await add(writer, one, other) == [one.id, other.id]


async def test_commit_on_a_dead_connection_keeps_one_trigger(pool: Pool, url: str) -> None:
    trigger = a_trigger()
    async with writing(pool) as writer:
        async with held_commits(url) as onlooker:
            adding = asyncio.create_task(add(writer, trigger))

            async def is_waiting() -> bool:
                return bool(await waiting_backends(onlooker))

            await until(is_waiting, "the commit waits for the lock")
            for pid in await waiting_backends(onlooker):
                await onlooker.execute("SELECT pg_terminate_backend($1)", pid)
        assert await asyncio.wait_for(adding, 60) == [trigger.id]
        assert await add(writer, a_trigger()) == [trigger.id]
    assert await queued(pool) == 1


async def test_a_key_older_than_its_time_is_a_new_one(pool: Pool) -> None:
    first, second = a_trigger(), a_trigger(event='{"other": "content"}')
    async with writing(pool) as writer:
        await add(writer, first)
        await pool.execute("UPDATE idempotency SET created_at = now() - interval '24 hours 1 second'")
        assert await add(writer, second) == [second.id]
        assert await add(writer, a_trigger(event='{"other": "content"}')) == [second.id]


async def test_old_keys_are_forgotten_and_young_ones_are_not(pool: Pool) -> None:
    async with writing(pool) as writer:
        for key in ("old", "young"):
            await add(writer, a_trigger(), key=key)
    await pool.execute("UPDATE idempotency SET created_at = now() - interval '25 hours' WHERE key = 'old'")
    assert await delete_keys(pool, DAY) == 1
    assert [row["key"] for row in await pool.fetch("SELECT key FROM idempotency")] == ["young"]


@pytest.mark.parametrize("field", ["external_id", "address", "timezone", "locale", "user_data", "event"])
def test_everything_that_would_be_sent_is_content(field: str) -> None:
    trigger = a_trigger()
    assert IdempotencyKey.of("k", trigger) == IdempotencyKey.of("k", a_trigger())
    assert IdempotencyKey.of("k", a_trigger(**{field: '{"other": 1}'})) != IdempotencyKey.of("k", trigger)
    assert IdempotencyKey.of("k", trigger) == IdempotencyKey("k", IdempotencyKey.of("other", trigger).content)


def test_the_moment_to_send_it_is_content() -> None:
    noon = dt.datetime(2026, 7, 1, 12, 0, tzinfo=dt.UTC)
    assert IdempotencyKey.of("k", a_trigger(send_at=noon)) != IdempotencyKey.of("k", a_trigger())
    assert IdempotencyKey.of("k", a_trigger(send_at=noon)) == IdempotencyKey.of("k", a_trigger(send_at=noon))


async def test_earlier_trigger_is_found_by_its_key(pool: Pool) -> None:
    first, again, other = a_trigger(), a_trigger(), a_trigger(event='{"other": "content"}')
    asked = [(one, IdempotencyKey.of("k", one)) for one in (again, other)]
    unknown = (first, IdempotencyKey.of("unknown", first))
    async with writing(pool) as writer:
        assert await writer.earlier(asked) == [None, None]
        await add(writer, first)
        found, reused, nothing = await writer.earlier([*asked, unknown])
        assert (found, nothing) == (first.id, None)
        assert isinstance(reused, IdempotencyKeyReused)
        await pool.execute("UPDATE idempotency SET created_at = now() - interval '24 hours 1 second'")
        assert await writer.earlier(asked) == [None, None]
    assert await queued(pool) == 1
