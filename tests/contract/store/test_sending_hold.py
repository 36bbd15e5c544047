"""While sending is held, nothing is claimed and nothing expires; a restored database comes up held."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from server.store.pool import Pool
from server.store.queue.sending_hold import find_hold, hold, hold_if_restored, release
from server.store.queue.triggers import PostgresQueue
from server.store.queue.webhooks import WebhookQueue
from tests.kit.outcomes import DELIVERED, RETRY
from tests.kit.store import a_trigger, accept, ended, shares
from tests.kit.webhooks import an_endpoint, claimed, happened

LAST_AUDIT = "SELECT actor, action, after::text FROM audit_event ORDER BY id DESC LIMIT 1"
SIGN = "SELECT sign_of_restore(row(true, NULL, '', '', 7, 1)::sending, $1, $2)"


@pytest.fixture(autouse=True)
async def _released(pool: Pool) -> AsyncIterator[None]:
    """End what a failed test left."""
    yield
    async with pool.acquire() as connection:
        await hold_if_restored(connection)
        await connection.execute("UPDATE sending SET held_at = NULL, held_by = '', reason = ''")


async def held(pool: Pool, reason: str = "") -> bool:
    async with pool.acquire() as connection:
        return await hold(connection, "Ada", reason)


async def released(pool: Pool) -> object:
    async with pool.acquire() as connection, connection.transaction():
        return await release(connection)


async def checked(pool: Pool) -> Any:
    """Do what each new connection of a dispatcher does; return the hold."""
    async with pool.acquire() as connection:
        await hold_if_restored(connection)
    return await find_hold(pool)


async def test_nothing_is_claimed_while_sending_is_held(pool: Pool) -> None:
    queue, endpoint = PostgresQueue(pool), await an_endpoint(pool)
    await happened(pool)  # a message to the endpoint
    await accept(pool, a_trigger(), a_trigger())
    assert len(await queue.claim(shares(sandbox=1), 60)) == 1  # the floor is now above FRONT
    assert await held(pool, "restored")
    assert await queue.claim(shares(sandbox=5), 60) == []
    assert await claimed(WebhookQueue(pool), endpoint) == []
    await accept(pool, a_trigger())
    assert await queue.claim(shares(sandbox=5), 60) == []
    assert await released(pool)
    assert len(await queue.claim(shares(sandbox=5), 60)) == 2
    assert len(await claimed(WebhookQueue(pool), endpoint)) == 1


async def test_what_is_being_sent_ends_during_a_hold(pool: Pool) -> None:
    """Its lease is renewed and its outcome recorded; a retry waits for the release."""
    queue = PostgresQueue(pool)
    await accept(pool, a_trigger(), a_trigger())
    first, second = await queue.claim(shares(sandbox=2), 60)
    await held(pool)
    assert await queue.renew([first, second], 60) == {first.id, second.id}
    await queue.finish([ended(first, DELIVERED), ended(second, RETRY, retry_in=0)])
    assert await queue.claim(shares(sandbox=2), 60) == []
    await released(pool)
    assert [claim.id for claim in await queue.claim(shares(sandbox=2), 60)] == [second.id]


async def test_nothing_expires_while_sending_is_held(pool: Pool) -> None:
    await an_endpoint(pool)
    await happened(pool)
    await accept(pool, a_trigger())
    queues = PostgresQueue(pool), WebhookQueue(pool)
    await pool.execute("UPDATE queue SET expires_at = now()")
    await pool.execute("UPDATE webhook_queue SET expires_at = now()")
    await held(pool)
    assert [await one.bury_expired("expired", "in doubt") for one in queues] == [0, 0]
    await released(pool)
    assert [await one.bury_expired("expired", "in doubt") for one in queues] == [1, 1]


async def test_the_first_hold_stays_and_ends_once(pool: Pool) -> None:
    assert await held(pool, "first")
    before = await find_hold(pool)
    assert not await held(pool, "second")
    assert await find_hold(pool) == before
    assert before is not None
    assert before.reason == "first"
    assert await released(pool) == before
    assert await released(pool) is None
    assert await find_hold(pool) is None


async def test_a_database_in_another_cluster_is_held_once(pool: Pool) -> None:
    assert await checked(pool) is None
    await pool.execute("UPDATE sending SET cluster = cluster - 1")
    found = await checked(pool)
    assert (found.held_by, found.reason) == (
        "Clarion",
        "the database is in another PostgreSQL cluster than before",
    )
    row = await pool.fetchrow(LAST_AUDIT)
    assert row is not None
    assert (row["actor"], row["action"], json.loads(row["after"])) == (
        "Clarion",
        "sending.hold",
        {"reason": found.reason},
    )
    await released(pool)
    assert await checked(pool) is None


async def test_an_operators_hold_stays_when_a_restore_is_noticed(pool: Pool) -> None:
    await held(pool, "by hand")
    await pool.execute("UPDATE sending SET cluster = cluster - 1")
    found = await checked(pool)
    assert (found.held_by, found.reason) == ("Ada", "by hand")
    await released(pool)
    assert await checked(pool) is None


async def test_a_failover_does_not_hold(pool: Pool) -> None:
    """A restore to a time is drilled in lab/faults: its recovery target cannot be set here."""
    await pool.execute("UPDATE sending SET timeline = timeline - 1")
    assert await checked(pool) is None
    assert await pool.fetchval(SIGN, 7, 2) is None
    assert await pool.fetchval(SIGN, 8, 1) == "the database is in another PostgreSQL cluster than before"


async def test_without_its_row_nothing_is_claimed(pool: Pool) -> None:
    await accept(pool, a_trigger())
    async with pool.acquire() as connection:
        change = connection.transaction()
        await change.start()
        await connection.execute("DELETE FROM sending")
        queue = PostgresQueue(connection)  # type: ignore[arg-type]
        assert await queue.claim(shares(sandbox=1), 60) == []
        await change.rollback()
