"""A 204 means that the synchronous replicas have the trigger, also if PostgreSQL stops waiting for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import pytest

from server.domain.idempotency import IdempotencyKey
from server.domain.placement import ValidTrigger
from server.errors import StoreUnavailable
from server.store.accept.group_commit import TriggerWriter
from server.store.pool import Pool
from server.store.records.project_slots import ProjectLimiter
from server.store.records.reader import Records
from server.store.replication import NotReplicated, changed
from tests.kit.store import PLACE, a_trigger, accept, writing
from tests.kit.until import until

# Not of autovacuum, which waits for the standby, too.
WAITS = "FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND backend_type = 'client backend'"
WAITING = f"SELECT pid {WAITS} ORDER BY query_start"
LATER = f"SELECT count(*) {WAITS} AND query_start > $1"
END = ("pg_terminate_backend", "pg_cancel_backend")


class AbsentStandby:
    """A synchronous standby that never answers; all commits wait for it."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def waiting(self, count: int = 1) -> list[int]:
        """Return the backends that wait for the standby, once there are as many as `count`."""

        async def look() -> list[int]:
            pids = [row["pid"] for row in await self._connection.fetch(WAITING)]
            return pids if len(pids) == count else []

        return await until(look, f"{count} backends wait for the standby")

    async def end_wait(self, how: str) -> None:
        """End the wait of the one backend that waits, and wait until another one does."""
        [pid] = await self.waiting()
        await self._connection.execute(f"SELECT {how}($1)", pid)

    async def next_wait(self, how: str) -> None:
        """End the wait of the one backend that waits, and return once the next statement waits."""
        [pid] = await self.waiting()
        since = await self._connection.fetchval("SELECT clock_timestamp()")
        await self._connection.execute(f"SELECT {how}($1)", pid)
        await until(lambda: self._connection.fetchval(LATER, since), "the second try waits for the standby")


@asynccontextmanager
async def absent_standby(url: str) -> AsyncIterator[AbsentStandby]:
    """Make all commits wait for a standby in the block. At its end, those that wait succeed."""
    connection = await asyncpg.connect(url)
    await _set(connection, "absent")
    try:
        yield AbsentStandby(connection)
    finally:
        await _set(connection, "")
        await connection.close()


async def _set(connection: asyncpg.Connection, names: str) -> None:
    await connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
    await connection.execute("SELECT pg_reload_conf()")

    async def is_set() -> bool:
        return bool(await connection.fetchval("SHOW synchronous_standby_names") == names)

    await until(is_set, "the setting is in effect")
    # Commits wait only once the checkpointer has read the setting too, which it does before a checkpoint.
    await connection.execute("CHECKPOINT")


def entries(count: int, *, keys: bool) -> list[ValidTrigger]:
    triggers = [a_trigger() for _ in range(count)]
    return [
        ValidTrigger(one, PLACE, IdempotencyKey.of(f"k{number}", one) if keys else None)
        for number, one in enumerate(triggers)
    ]


SMALL, KEYED, COPIED = (1, False), (2, True), (100, False)


async def stored(pool: Pool) -> int:
    count: int = await pool.fetchval("SELECT count(*) FROM trigger JOIN queue ON id = trigger_id")
    return count


@pytest.mark.parametrize("how", END)
@pytest.mark.parametrize("batch", [SMALL, KEYED, COPIED], ids=["small", "keyed", "copied"])
async def test_repeated_commit_waits_for_the_replica(
    pool: Pool, url: str, batch: tuple[int, bool], how: str
) -> None:
    count, keys = batch
    given = entries(count, keys=keys)
    async with writing(pool) as writer:
        async with absent_standby(url) as standby:
            adding = asyncio.create_task(writer.add_all(given))
            await standby.next_wait(how)
            assert not adding.done()
        assert await adding == [one.trigger.id for one in given]
    assert await stored(pool) == len(given)


@pytest.mark.parametrize("how", END)
async def test_commit_without_a_replica_is_not_accepted(pool: Pool, url: str, how: str) -> None:
    async with writing(pool) as writer, absent_standby(url) as standby:
        adding = asyncio.create_task(writer.add(a_trigger(), PLACE))
        await standby.next_wait(how)
        await standby.end_wait(how)
        with pytest.raises(StoreUnavailable, match="may or may not have been accepted"):
            await asyncio.wait_for(adding, 30)
    assert await stored(pool) == 1  # on the primary only


async def test_repeated_key_waits_for_the_replica(pool: Pool, url: str) -> None:
    """The caller's own retry, and the look-up of a key without a new trigger."""
    trigger = a_trigger()
    key = IdempotencyKey.of("k", trigger)
    async with writing(pool) as writer:
        async with absent_standby(url) as standby:
            await _accept_on_the_primary_only(writer, standby, [ValidTrigger(trigger, PLACE, key)])
            again = [
                asyncio.create_task(writer.add(a_trigger(), PLACE, key)),
                asyncio.create_task(writer.earlier([(trigger, key)])),
            ]
            await standby.waiting(2)
            assert not any(task.done() for task in again)
        assert await asyncio.gather(*again) == [trigger.id, [trigger.id]]


async def _accept_on_the_primary_only(
    writer: TriggerWriter, standby: AbsentStandby, given: Sequence[ValidTrigger]
) -> None:
    adding = asyncio.create_task(writer.add_all(given))
    await standby.next_wait("pg_cancel_backend")
    await standby.end_wait("pg_cancel_backend")
    with pytest.raises(StoreUnavailable):
        await adding


async def test_change_by_a_command_waits_for_the_replica(pool: Pool, url: str) -> None:
    """Its own wait is ended, but that of the confirmation at the end is not."""

    async def work() -> None:
        async with changed(pool):
            await pool.execute("UPDATE project SET name = 'other' WHERE id = 2")

    async with absent_standby(url) as standby:
        changing = asyncio.create_task(work())
        await standby.next_wait("pg_cancel_backend")
        assert not changing.done()
        await standby.end_wait("pg_cancel_backend")
        with pytest.raises(NotReplicated, match="may or may not be kept"):
            await changing


async def test_cancellation_without_a_replica_is_in_doubt(pool: Pool, url: str) -> None:
    trigger = a_trigger()
    await accept(pool, trigger)
    records = Records(pool, pool, ProjectLimiter(2, 1))
    async with absent_standby(url) as standby:
        cancelling = asyncio.create_task(records.cancel(trigger.id))
        await standby.end_wait("pg_cancel_backend")
        with pytest.raises(NotReplicated):
            await cancelling
        again = asyncio.create_task(records.confirm_replicated())
        await standby.waiting()
        assert not again.done()
    await again
