"""Many triggers of one call: all of them in one commit, each with what became of it."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence

import pytest
from msgspec.structs import fields, replace

from server.domain.delivery import ClaimRequest
from server.domain.idempotency import IdempotencyKey
from server.domain.placement import Placement, ValidTrigger
from server.domain.trigger import Trigger
from server.errors import IdempotencyKeyReused, Overloaded, StoreUnavailable
from server.store.accept.commit import CommitResult
from server.store.accept.statements import COLUMNS
from server.store.pool import Pool
from server.store.queue.triggers import PostgresQueue
from tests.kit.store import PLACE, a_trigger, held_commits, waiting_backends, writing
from tests.kit.until import until

from .test_writer import _lose_connections, counts

FEW, MANY = 10, 300
"""What one statement takes, and what is copied."""
ENDS_ITS_BACKEND = {"external_id": "ends its backend"}
STORED = "SELECT *, due_at = accepted_at AS now FROM trigger JOIN queue ON id = trigger_id"


def entries(count: int, *, keys: str = "", **facts: object) -> list[ValidTrigger]:
    """Make triggers, with keys `KEYS-0` and so on if asked for."""
    made = [a_trigger(**facts) for _ in range(count)]
    return [
        ValidTrigger(one, PLACE, IdempotencyKey.of(f"{keys}-{n}", one) if keys else None)
        for n, one in enumerate(made)
    ]


def ids(given: Sequence[ValidTrigger]) -> list[object]:
    return [trigger.id for trigger, _, _ in given]


async def commits(pool: Pool) -> int:
    count: int = await pool.fetchval("SELECT count(DISTINCT xmin::text) FROM trigger")
    return count


async def test_each_field_of_a_trigger_is_a_column(pool: Pool) -> None:
    """A field without a migration, or a column without a field, would lose what a caller sent.

    No caller sends `test_content`: it is what `SendCampaignTest` sends.
    """
    columns = await pool.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'trigger'::regclass AND attnum > 0"
    )
    assert {row["attname"] for row in columns} == {*Trigger.__struct_fields__, "test_content"}
    assert {*COLUMNS, "accepted_at"} == set(Trigger.__struct_fields__)


@pytest.mark.parametrize("count", [FEW, MANY])
async def test_each_field_is_stored_and_read_back(pool: Pool, count: int) -> None:
    texts = {field.name: f'{field.name} ü \\ " \n' for field in fields(Trigger) if field.type is str}
    given = entries(count, **texts, send_at=dt.datetime(2026, 1, 2, 3, 4, 5, 678, dt.UTC))
    async with writing(pool) as writer:
        await writer.add_all(given)
    claims = await PostgresQueue(pool).claim([ClaimRequest(PLACE.lane, "sandbox", count)], 60)
    stored = {claim.id: replace(claim.trigger, accepted_at=None) for claim in claims}
    assert stored == {entry.trigger.id: entry.trigger for entry in given}


@pytest.mark.parametrize("count", [FEW, 1200])
@pytest.mark.parametrize("keys", ["", "k"])
async def test_a_batch_is_one_commit_and_as_it_was_given(pool: Pool, count: int, keys: str) -> None:
    given = entries(count, keys=keys, locale="pt-BR", user_data='{"a":  1}', event='{"b": "\\\\N"}')
    async with writing(pool) as writer:
        assert list(await writer.add_all(given)) == ids(given)
    assert await counts(pool) == (count, count, count)
    assert await commits(pool) == 1
    row = await pool.fetchrow(f"{STORED} WHERE id = $1", ids(given)[-1])
    assert row
    for name in (*COLUMNS[:3], *COLUMNS[4:]):
        assert row[name] == getattr(given[-1][0], name)
    assert (row["channel"], row["lane"], row["attempt"]) == ("email", PLACE.lane, 0)
    assert row["now"]


@pytest.mark.parametrize("count", [FEW, MANY])
async def test_each_goes_where_and_when_it_is_to(pool: Pool, count: int) -> None:
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    given = entries(count)
    given[1] = ValidTrigger(a_trigger(send_at=later), Placement("email/smtp", later, later))
    given[2] = ValidTrigger(a_trigger(), Placement("email/smtp", later - dt.timedelta(days=9)))
    async with writing(pool) as writer:
        await writer.add_all(given)
    rows = await pool.fetch(STORED)
    found = {row["id"]: (row["lane"], row["now"], row["send_at"], row["expires_at"]) for row in rows}
    assert found.pop(given[1][0].id) == ("email/smtp", False, later, later)
    assert found.pop(given[2][0].id) == ("email/smtp", True, None, None)
    assert set(found.values()) == {(PLACE.lane, True, None, None)}


@pytest.mark.parametrize("count", [FEW, MANY])
async def test_of_several_with_one_key_the_first_stands_for_it(pool: Pool, count: int) -> None:
    given = entries(count, keys="k")
    first, again, other = a_trigger(), a_trigger(), a_trigger(event='{"other": 1}')
    given += [ValidTrigger(one, PLACE, IdempotencyKey.of("same", one)) for one in (first, again, other)]
    async with writing(pool) as writer:
        *kept, one, two, three = await writer.add_all(given)
    assert kept == ids(given[:count])
    assert (one, two) == (first.id, first.id)
    assert isinstance(three, IdempotencyKeyReused)
    assert three.metadata == {"trigger_id": str(first.id)}
    assert await counts(pool) == (count + 1, count + 1, count + 1)
    assert await commits(pool) == 1


@pytest.mark.parametrize("count", [FEW, MANY])
async def test_repeated_batch_returns_the_first_ids(pool: Pool, count: int) -> None:
    first, second = entries(count, keys="k"), entries(count, keys="k")
    async with writing(pool) as writer:
        await writer.add_all(first)
        second.append(ValidTrigger(a_trigger(), PLACE))
        kept = await writer.add_all(second)
        asked = [(trigger, one) for trigger, _, one in second[:count] if one]
        assert list(await writer.earlier(asked)) == ids(first)
    assert list(kept) == [*ids(first), second[-1][0].id]
    assert await counts(pool) == (count + 1, count + 1, count + 1)


async def test_two_writers_of_one_batch_keep_one_trigger_per_key(pool: Pool) -> None:
    async with writing(pool) as one, writing(pool) as other:
        for number in range(5):
            size = MANY if number % 2 else FEW
            forward = entries(size, keys=f"r{number}")
            backward = [*reversed(entries(size, keys=f"r{number}"))]
            single = entries(1, keys=f"r{number}")[0]
            adding = (one.add_all(forward), other.add_all(backward), other.add(*single))
            kept, reverse, alone = await asyncio.wait_for(asyncio.gather(*adding), 60)
            assert list(kept) == [*reversed(reverse)]
            assert kept[0] == alone
    total = 3 * FEW + 2 * MANY
    assert await counts(pool) == (total, total, total)


async def test_a_batch_and_single_calls_share_a_commit(pool: Pool, url: str) -> None:
    async with writing(pool) as writer:
        async with held_commits(url) as holder:
            first = asyncio.create_task(writer.add(a_trigger(), PLACE))
            await until(lambda: waiting_backends(holder), "a statement waits for the lock")
            others = [asyncio.create_task(writer.add(a_trigger(), PLACE)) for _ in range(5)]
            batch = asyncio.create_task(writer.add_all(entries(MANY)))
            await asyncio.sleep(0)
        await asyncio.gather(first, batch, *others)
    assert await commits(pool) == 2


async def test_batch_is_admitted_whole_if_there_is_room(pool: Pool, url: str) -> None:
    async with writing(pool, max_pending=FEW) as writer:
        async with held_commits(url) as holder:
            first = asyncio.create_task(writer.add(a_trigger(), PLACE))
            await until(lambda: waiting_backends(holder), "a statement waits for the lock")
            batch = asyncio.create_task(writer.add_all(entries(MANY)))
            await asyncio.sleep(0)
            with pytest.raises(Overloaded):
                await writer.add_all(entries(1))
        await asyncio.gather(first, batch)
        await writer.add_all(entries(FEW))
    assert await counts(pool) == (MANY + FEW + 1,) * 3


@pytest.mark.parametrize(("count", "keys"), [(FEW, "k"), (MANY, "")])
async def test_a_row_that_the_database_refuses_fails_alone(pool: Pool, count: int, keys: str) -> None:
    given = entries(count, keys=keys)
    poison = a_trigger(external_id="a\0b")
    given.insert(3, ValidTrigger(poison, PLACE, IdempotencyKey.of("poison", poison) if keys else None))
    async with writing(pool) as writer:
        adding = (writer.add_all(given), writer.add(a_trigger(), PLACE))
        kept, _ = await asyncio.gather(*adding)
        assert [*kept[:3], *kept[4:]] == [*ids(given[:3]), *ids(given[4:])]
        assert isinstance(kept[3], Exception)
        assert not isinstance(kept[3], StoreUnavailable)
    assert await counts(pool) == (count + 1,) * 3


async def test_outage_next_to_a_refused_row_reports_what_is_on_disk(
    pool: Pool,
) -> None:
    given = [
        ValidTrigger(a_trigger(**facts), PLACE)
        for facts in ({}, {"external_id": "a\0b"}, {}, ENDS_ITS_BACKEND)
    ]
    await pool.execute(
        "CREATE FUNCTION go_away() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN new; END $$;"
        "CREATE TRIGGER go_away BEFORE INSERT ON trigger FOR EACH ROW"
        f" WHEN (new.external_id = '{ENDS_ITS_BACKEND['external_id']}') EXECUTE FUNCTION go_away()"
    )
    try:
        async with writing(pool) as writer:
            adding = (writer.add_all(given), writer.add(a_trigger(), PLACE))
            kept, alone = await asyncio.gather(*adding, return_exceptions=True)
    finally:
        await pool.execute("DROP FUNCTION go_away CASCADE")
    assert not isinstance(kept, BaseException)
    assert kept[0] == given[0][0].id
    assert [type(one) is StoreUnavailable for one in (*kept, alone)] == [False, False, True, True, True]
    assert await counts(pool) == (1, 1, 1)


async def test_a_batch_whose_backend_was_killed_is_made_again_once(pool: Pool, url: str) -> None:
    given = entries(MANY, keys="k")
    async with writing(pool) as writer:
        async with held_commits(url) as holder:
            adding = asyncio.ensure_future(writer.add_all(given))
            await until(lambda: waiting_backends(holder), "a statement waits for the lock")
            [pid] = await waiting_backends(holder)
            await holder.execute("SELECT pg_terminate_backend($1)", pid)
            await until(lambda: _others(holder, pid), "another statement waits for the lock")
        assert list(await asyncio.wait_for(adding, 60)) == ids(given)
    assert await counts(pool) == (MANY,) * 3


@pytest.mark.parametrize("keys", ["", "k"])
async def test_batch_with_a_lost_answer_is_not_repeated(pool: Pool, url: str, keys: str) -> None:
    given = entries(MANY, keys=keys)
    async with writing(pool) as writer:
        async with held_commits(url) as holder:
            adding = asyncio.ensure_future(writer.add_all(given))
            await until(lambda: waiting_backends(holder), "a statement waits for the lock")
            [pid] = await waiting_backends(holder)
            _lose_connections(pool)
            await until(lambda: _others(holder, pid), "another statement waits for the lock")
        kept: Sequence[CommitResult] = await asyncio.wait_for(adding, 60)
    assert list(kept) == ids(given)
    assert await counts(pool) == (MANY,) * 3


async def _others(holder: object, pid: int) -> bool:
    return bool({*await waiting_backends(holder)} - {pid})  # type: ignore[arg-type]


async def test_batch_cancelled_before_its_commit_leaves_nothing(pool: Pool, url: str) -> None:
    async with writing(pool) as writer:
        async with held_commits(url) as holder:
            first = asyncio.create_task(writer.add(a_trigger(), PLACE))
            await until(lambda: waiting_backends(holder), "a statement waits for the lock")
            batch = asyncio.create_task(writer.add_all(entries(MANY, keys="k")))
            await asyncio.sleep(0)
            batch.cancel()
            await asyncio.gather(batch, return_exceptions=True)
        await first
        await writer.add(a_trigger(), PLACE)
    assert await counts(pool) == (2, 2, 2)
    assert await pool.fetchval("SELECT count(*) FROM idempotency") == 0
