"""Operations on many deliveries: several servers, a server that is killed, and what a filter leaves out."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from server.admin.operations import run_operations
from server.domain.operator import Actor, ActorKind
from server.store.admin.campaigns import apply_campaigns
from server.store.id_ranges import first_id_at
from server.store.pool import Pool
from server.store.records import operations as store
from server.store.records.admin_lists import AdminFilter, dead_letters
from server.store.records.operations import BulkOperation, Kind, OperationState
from server.store.retention import delete_operations
from tests.kit.store import a_campaign, a_trigger, accept
from tests.kit.until import until

COUNT = 25
DAY = 86_400.0


@pytest.fixture(autouse=True)
async def campaign(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "AT_ONCE", 4)
    await apply_campaigns(pool, [a_campaign()])


async def bury(pool: Pool, count: int = COUNT, error: str = "451 later") -> None:
    triggers = [a_trigger() for _ in range(count)]
    await accept(pool, *triggers)
    ids = [one.id for one in triggers]
    await pool.execute("DELETE FROM queue WHERE trigger_id = ANY($1)", ids)
    await pool.execute(
        "INSERT INTO attempt (trigger_id, number, provider, outcome, started_at, duration,"
        " provider_message_id, error) SELECT unnest($1::uuid[]), 1, 'smtp', 'dead', now(), 0.1, '', $2",
        ids,
        error,
    )
    await pool.execute(
        "INSERT INTO dead_letter (trigger_id, error) SELECT unnest($1::uuid[]), $2", ids, error
    )


async def started(pool: Pool, kind: Kind, wanted: AdminFilter) -> uuid.UUID:
    async with pool.acquire() as connection:
        operation = await store.create_operation(
            connection,
            kind,
            wanted,
            projects=None,
            matching=COUNT,
            is_partial=False,
            actor=Actor(ActorKind.ROBOT, "night watch", ()),
            address="192.0.2.1",
            request_id="r",
        )
    return operation.id


@asynccontextmanager
async def servers(pool: Pool, count: int) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(run_operations(pool)) for _ in range(count)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def ended(pool: Pool, operation_id: uuid.UUID) -> BulkOperation:
    found: BulkOperation | None = None

    async def has_ended() -> bool:
        nonlocal found
        found = await store.find_operation(pool, operation_id)
        return found is not None and found.state is not OperationState.RUNNING

    await until(has_ended, "the operation has ended")
    assert found
    return found


async def recorded(pool: Pool, operation_id: uuid.UUID) -> int:
    """Return how many changes the audit log has."""
    rows = await pool.fetch(
        "SELECT actor, project_id, after FROM audit_event WHERE resource = $1", f"operation/{operation_id}"
    )
    assert {(row["actor"], row["project_id"]) for row in rows} == {("night watch", a_campaign().project_id)}
    return sum(json.loads(row["after"])["count"] for row in rows)


async def test_several_servers_change_each_once(pool: Pool) -> None:
    await bury(pool)
    await bury(pool, 3, "550 unknown")
    wanted = AdminFilter(error_group="# later", provider="smtp")
    operation = await started(pool, Kind.RETRY, wanted)
    async with servers(pool, 3):
        found = await ended(pool, operation)
    assert (found.state, found.changed, await dead_letters(pool)) == (OperationState.DONE, COUNT, 3)
    assert await recorded(pool, operation) == COUNT


async def test_a_killed_server_leaves_no_half_step(pool: Pool) -> None:
    await bury(pool)
    operation = await started(pool, Kind.RETRY, AdminFilter(provider="smtp"))
    async with pool.acquire() as connection:
        await connection.execute("BEGIN")
        claimed = await store.claim_operation(connection)
        assert claimed
        assert len(await store.make_step(connection, claimed)) == 4
        assert await pool.fetchval("SELECT count(*) FROM queue") == 0  # not committed
        await pool.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())
        with pytest.raises(
            (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
        ):
            await connection.execute("COMMIT")
    assert await dead_letters(pool) == COUNT
    async with servers(pool, 1):
        assert (await ended(pool, operation)).changed == COUNT
    assert await recorded(pool, operation) == COUNT


async def test_what_is_accepted_later_is_not_cancelled(pool: Pool) -> None:
    await accept(pool, *(a_trigger() for _ in range(COUNT)))
    operation = await started(pool, Kind.CANCEL, AdminFilter(campaign_id=44))
    await pool.execute("UPDATE bulk_operation SET created_at = clock_timestamp() WHERE id = $1", operation)
    await accept(pool, *(a_trigger() for _ in range(3)))
    async with servers(pool, 2):
        assert (await ended(pool, operation)).changed == COUNT
    assert await pool.fetchval("SELECT count(*) FROM queue") == 3
    assert await recorded(pool, operation) == COUNT


async def test_a_stopped_operation_changes_nothing_more(pool: Pool) -> None:
    await bury(pool)
    operation = await started(pool, Kind.RETRY, AdminFilter(provider="smtp"))
    async with pool.acquire() as connection, connection.transaction():
        claimed = await store.claim_operation(connection)
        assert claimed
        await store.make_step(connection, claimed)
    async with pool.acquire() as connection:
        stopped = await store.end_operation(connection, operation, OperationState.CANCELLED)
        assert stopped
        assert (stopped.changed, stopped.state) == (4, OperationState.CANCELLED)
        assert await store.end_operation(connection, operation, OperationState.CANCELLED) is None
        assert await store.claim_operation(connection) is None
    assert await dead_letters(pool) == COUNT - 4


async def test_filters_of_newer_versions_are_left_alone(pool: Pool) -> None:
    """A rolling update: ignoring an unknown filter would change more than was requested."""
    await bury(pool, 1)
    operation = await started(pool, Kind.RETRY, AdminFilter(since=dt.datetime.now(dt.UTC)))
    await pool.execute(
        'UPDATE bulk_operation SET filter = filter || \'{"colour": "red"}\' WHERE id = $1', operation
    )
    async with pool.acquire() as connection, connection.transaction():
        assert await store.claim_operation(connection) is None
    assert await dead_letters(pool) == 1


async def dated(pool: Pool, *, created: float, ended: float | None) -> uuid.UUID:
    """Return an operation that was created, and ended, this many days ago."""
    operation = await started(pool, Kind.RETRY, AdminFilter(provider="smtp"))
    now = dt.datetime.now(dt.UTC)
    old_id = uuid.UUID(int=first_id_at(now - dt.timedelta(days=created), 0).int + uuid.uuid4().int % 2**62)
    values = (operation, old_id, ended and now - dt.timedelta(days=ended), "done" if ended else "running")
    await pool.execute("UPDATE bulk_operation SET id = $2, ended_at = $3, state = $4 WHERE id = $1", *values)
    return old_id


async def test_ended_operations_are_deleted_after_their_time(pool: Pool) -> None:
    kept = {
        await dated(pool, created=40, ended=None),
        await dated(pool, created=40, ended=29),
        await dated(pool, created=29, ended=29),
    }
    await dated(pool, created=40, ended=31)
    await dated(pool, created=31, ended=31)
    assert await delete_operations(pool, 30 * DAY) == 2
    assert {row["id"] for row in await pool.fetch("SELECT id FROM bulk_operation")} == kept
