"""Old data is removed: content, records with their partitions, audit events. What is still needed stays."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest

from server.domain.delivery import ClaimRequest
from server.store.partitioning import PARTITIONED
from server.store.pool import Pool
from server.store.queue.triggers import PostgresQueue
from server.store.records.admin_lists import AdminFilter
from server.store.retention import RecordRetention
from server.store.retention_days import find_shorter
from tests.kit.outcomes import DEAD, DELIVERED
from tests.kit.store import a_trigger, accept, ended, redrive, shares

CONTENT = "SELECT address || user_data || event || traceparent FROM trigger WHERE id = $1"


def id_of(age: dt.timedelta) -> uuid.UUID:
    """Return a new ID that is this old."""
    moment = int((dt.datetime.now(dt.UTC) - age).timestamp() * 1000)
    return uuid.UUID(int=moment << 80 | 7 << 76 | 2 << 62 | uuid.uuid4().int & (1 << 62) - 1)


def days(number: float) -> dt.timedelta:
    return dt.timedelta(days=number)


def retention(pool: Pool, *, content: int = 30, record: int = 400, audit: int = 400) -> RecordRetention:
    return RecordRetention(pool, content=content, record=record, audit=audit)


async def sent(pool: Pool, *ids: uuid.UUID, outcome: object = DELIVERED, **fields: object) -> None:
    """Accept triggers of these IDs, and record an attempt of each."""
    await accept(pool, *(a_trigger(id=one, event='{"code":"1"}', **fields) for one in ids))
    queue = PostgresQueue(pool)
    claims = await queue.claim(shares(sandbox=len(ids)), 60)
    await queue.finish([ended(claim, outcome) for claim in claims])  # type: ignore[arg-type]


async def content(pool: Pool, trigger_id: uuid.UUID) -> str:
    found: str = await pool.fetchval(CONTENT, trigger_id)
    return found


async def partitions(pool: Pool, name: str = "trigger") -> list[str]:
    rows = await pool.fetch("SELECT name FROM partitions_of($1::text::regclass) ORDER BY ends", name)
    return [row["name"] for row in rows]


@pytest.fixture
async def old_partitions(pool: Pool) -> object:
    """Remove the partitions that a test has added."""
    yield
    for name in PARTITIONED:
        for partition in await partitions(pool, name):
            if not partition.endswith("_first"):
                await pool.execute(f"DROP TABLE {partition}")


async def test_content_is_removed_after_its_time(pool: Pool) -> None:
    old, new = id_of(days(31)), id_of(days(29))
    await sent(pool, old, new)
    await retention(pool).remove_content()
    assert await content(pool, old) == ""
    assert "code" in await content(pool, new)
    kept = await pool.fetchrow("SELECT campaign_id, external_id, accepted_at FROM trigger WHERE id = $1", old)
    assert kept is not None
    assert all(kept)
    assert await pool.fetchval("SELECT count(*) FROM attempt") == 2


async def test_content_of_a_queued_trigger_stays_until_it_has_ended(pool: Pool) -> None:
    old = id_of(days(31))
    await accept(pool, a_trigger(id=old, event='{"code":"1"}'))
    await retention(pool).remove_content()
    assert "code" in await content(pool, old)
    queue = PostgresQueue(pool)
    [claim] = await queue.claim(shares(sandbox=1), 60)
    await queue.finish([ended(claim, DELIVERED)])
    await pool.execute("UPDATE content_due SET due_at = now()")
    await retention(pool).remove_content()
    assert await content(pool, old) == ""
    assert await pool.fetchval("SELECT count(*) FROM content_due") == 0


async def test_a_project_can_keep_content_for_another_time(pool: Pool) -> None:
    await pool.execute("""UPDATE project SET content_days = '{"email": 7}' WHERE id = 1""")
    await pool.execute("""UPDATE project SET content_days = '{"email": 60}' WHERE id = 2""")
    one, other = id_of(days(8)), id_of(days(59))
    await sent(pool, one)
    await sent(pool, other, project_id=2)
    await retention(pool).remove_content()
    assert await content(pool, one) == ""
    assert "code" in await content(pool, other)


async def test_a_shorter_time_takes_effect_a_day_later(pool: Pool) -> None:
    """By then, its triggers have been passed by the removal of a project that always had this time."""
    await pool.execute("""UPDATE project SET content_days = '{"email": 7}' WHERE id = 2""")
    one = id_of(days(8))
    await sent(pool, one)
    await sent(pool, id_of(days(7.5)), project_id=2)
    await pool.execute("""UPDATE project SET content_days = '{"email": 7}', content_days_changed_at = now()
        WHERE id = 1""")
    await retention(pool).remove_content()
    assert "code" in await content(pool, one)
    await pool.execute("UPDATE content_removal SET started_at = now() - interval '2 days'")
    await pool.execute("UPDATE project SET content_days_changed_at = now() - interval '1 day' WHERE id = 1")
    await retention(pool).remove_content()
    assert await content(pool, one) == ""


async def test_many_triggers_are_removed_in_steps(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.store.retention._AT_ONCE", 3)
    ids = [id_of(days(31)) for _ in range(10)]
    await sent(pool, *ids)
    await retention(pool).remove_content()
    assert [await content(pool, one) for one in ids] == [""] * 10


async def test_what_has_no_content_is_not_retried(pool: Pool) -> None:
    old = id_of(days(31))
    await sent(pool, old, outcome=DEAD)
    await retention(pool).remove_content()
    assert await redrive(pool, AdminFilter()) == 0
    assert await pool.fetchval("SELECT count(*) FROM queue") == 0


@pytest.mark.usefixtures("old_partitions")
async def test_partitions_are_ready_before_they_are_needed(pool: Pool) -> None:
    for _ in range(2):
        await retention(pool).once()
    for name in PARTITIONED:
        added = await partitions(pool, name)
        assert added[0] == f"{name}_first"
        assert 2 <= len(added) <= 4
        ends = await pool.fetchval(
            "SELECT max(time_of_id(ends)) - now() FROM partitions_of($1::text::regclass)", name
        )
        assert ends > days(14)
    await sent(pool, id_of(days(-9)))
    assert await pool.fetchval("SELECT count(*) FROM trigger_first") == 0
    assert await pool.fetchval("SELECT count(*) FROM trigger_rest") == 0
    assert await pool.fetchval("SELECT count(*) FROM trigger") == 1


@pytest.mark.usefixtures("old_partitions")
async def test_rows_that_had_no_partition_are_moved_to_it(pool: Pool) -> None:
    await sent(pool, id_of(days(-12)))
    assert await pool.fetchval("SELECT count(*) FROM trigger_rest") == 1
    await retention(pool).once()
    assert await pool.fetchval("SELECT count(*) FROM trigger_rest") == 0
    assert await pool.fetchval("SELECT count(*) FROM trigger JOIN attempt ON trigger_id = id") == 1


async def test_old_records_are_deleted_with_their_partition(pool: Pool) -> None:
    async with pool.acquire() as connection:
        changes = connection.transaction()
        await changes.start()
        await connection.execute("SELECT add_partitions('trigger', 'id', 1, now() + interval '12 days')")
        rows = await connection.fetch("SELECT name FROM partitions_of('trigger') ORDER BY ends")
        dropped = [
            await connection.fetchval("SELECT drop_partition('trigger', now() + interval '10 days')")
            for _ in range(4)
        ]
        assert dropped[:2] == [row["name"] for row in rows[:2]]
        assert dropped[3] is None  # the others have newer triggers
        assert await connection.fetchval("SELECT drop_partition('trigger', now())") is None
        await changes.rollback()


async def test_records_outside_of_partitions_are_deleted_too(pool: Pool) -> None:
    old = id_of(days(500))
    await sent(pool, old, outcome=DEAD)
    await pool.execute("INSERT INTO cancellation (trigger_id) VALUES ($1)", old)
    await retention(pool).once()
    for name in ("dead_letter", "cancellation"):
        assert await pool.fetchval(f"SELECT count(*) FROM {name}") == 0  # noqa: S608 - ours


async def test_records_of_queued_triggers_stay(pool: Pool) -> None:
    old = id_of(days(500))
    await accept(pool, a_trigger(id=old))
    await pool.execute("INSERT INTO dead_letter (trigger_id, error) VALUES ($1, '')", id_of(days(450)))
    await retention(pool).once()
    assert await pool.fetchval("SELECT count(*) FROM dead_letter") == 1
    [claim] = await PostgresQueue(pool).claim([ClaimRequest("email/sandbox", "sandbox", 1)], 60)
    assert claim.id == old


async def test_only_old_audit_events_are_deleted(pool: Pool) -> None:
    insert = (
        "INSERT INTO audit_event (occurred_at, actor_kind, actor, action, resource, address, request_id)"
        " VALUES (now() - $1::interval, 'user', 'a', 'test', 'x', '', '')"
    )
    before = await pool.fetchval("SELECT count(*) FROM audit_event")
    await pool.execute(insert, days(401))
    await pool.execute(insert, days(399))
    await retention(pool).once()
    assert await pool.fetchval("SELECT count(*) FROM audit_event") == before + 1
    with pytest.raises(Exception, match="cannot be changed or deleted"):
        await pool.execute("DELETE FROM audit_event")


@pytest.mark.usefixtures("old_partitions")
async def test_shorter_settings_of_records_and_audit_wait_too(pool: Pool) -> None:
    await retention(pool).report()
    old = id_of(days(50))
    await pool.execute("INSERT INTO dead_letter (trigger_id, error) VALUES ($1, '')", old)
    await pool.execute(
        "INSERT INTO audit_event (occurred_at, actor_kind, actor, action, resource, address, request_id)"
        " VALUES (now() - interval '50 days', 'user', 'a', 'shorter', 'x', '', '')"
    )
    left = """SELECT (SELECT count(*) FROM dead_letter)
        + (SELECT count(*) FROM audit_event WHERE action = 'shorter')"""
    shorter = retention(pool, record=40, audit=40)
    await shorter.once()
    assert await pool.fetchval(left) == 2
    assert [one.data for one in await find_shorter(pool)] == ["audit", "record"]
    await pool.execute("UPDATE retention SET next_at = now() WHERE next_at IS NOT NULL")
    await shorter.once()
    assert await pool.fetchval(left) == 0


BOUNDS = {
    "trigger, attempt": "[retention] record, by partition; content by [retention] content",
    "dead_letter, cancellation": "[retention] record",
    "queue, content_due": "triggers that are not sent yet, at most as many as their callers' limits allow",
    "idempotency": "[server] idempotency_ttl",
    "webhook_message, webhook_attempt, webhook_queue": "[webhooks] keep",
    "audit_event": "[retention] audit",
    "bulk_operation": "30 days after its end",
    "statistic": "3 days by minute, 400 days by hour",
    "provider_result": "an hour, and a number for each provider",
    "operator_session": "an hour after its end; 20 for each person",
    "server_process": "15 minutes after it was last seen",
    "suppression": "one for each recipient, until an operator deletes it",
    "suppression_key, sending": "one row",
    "project, webhook": "what operators created, until they delete it",
    "api_key, key_certificate, key_use, admin_key": "what operators created, until they delete it",
    "campaign, campaign_version, campaign_draft": "what operators created, until they delete it",
    "retention": "one row for each kind of data",
    "content_removal": "one for each time that a project keeps content",
    "catalog_version, statistic_position, schema_compatibility, alembic_version": "one row",
}
"""Why each table does not grow without bound; docs/reference/delivery.md has it for users."""


async def test_every_table_has_a_bound(pool: Pool) -> None:
    rows = await pool.fetch(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
        " AND relnamespace = 'public'::regnamespace"
    )
    bounded = [name for names in BOUNDS for name in names.split(", ")]
    assert sorted(row["relname"] for row in rows) == sorted(bounded)
