"""What the store's tests share: triggers, a running writer, and ways to hold a commit in flight."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import uuid_utils.compat

from server.domain.campaign import Campaign, Channel, Template
from server.domain.delivery import (
    Attempt,
    AttemptOutcome,
    Claim,
    ClaimRequest,
    DeliveryState,
    Finished,
)
from server.domain.key import ApiKey
from server.domain.limit import OwnLimit
from server.domain.placement import Placement
from server.domain.project import Project
from server.domain.trigger import Trigger
from server.store.accept.group_commit import TriggerWriter
from server.store.accept.notify import Notifier
from server.store.admin import keys, projects
from server.store.pool import Connection, Pool
from server.store.queue.triggers import PostgresQueue
from server.store.records import admin_lists
from server.store.records.admin_lists import AdminFilter
from server.store.records.admin_pages import DeliveryRow, list_page
from server.store.records.cancel import FIRST, cancel_some
from tests.kit.until import until

TABLES = (
    "project, api_key, campaign, trigger, queue, attempt, dead_letter, suppression, idempotency, cancellation"
    ", webhook, webhook_message, webhook_queue, webhook_attempt, statistic, provider_result, bulk_operation"
    ", retention, key_certificate"
)
_LARGE = 64 * 1024
"""Bytes of a table from which it is truncated, so that what was deleted does not slow the tests down."""
PLACE = Placement("email/sandbox")


async def empty(pool: Pool) -> None:
    """Delete all rows. TRUNCATE, which makes new files, takes 70 ms of CPU; deleting a few rows takes 10."""
    names = TABLES.split(", ")
    largest = "SELECT max(pg_relation_size(name::regclass)) FROM unnest($1::text[]) AS name"
    if await pool.fetchval(largest, names) > _LARGE:
        await truncate(pool)
    else:
        await pool.execute("; ".join(f"DELETE FROM {name}" for name in reversed(names)))  # noqa: S608 - ours


async def truncate(pool: Pool) -> None:
    """Make the tables as new: without deleted rows and statistics, which would change query plans."""
    await pool.execute(f"TRUNCATE {TABLES}")


def a_trigger(**changes: Any) -> Trigger:
    """Make a trigger with its own id."""
    facts: dict[str, Any] = {
        "id": uuid_utils.compat.uuid7(),
        "project_id": 1,
        "campaign_id": 44,
        "channel": Channel.EMAIL,
        "external_id": "ext-1",
        "address": "someone@example.com",
        **changes,
    }
    return Trigger(**facts)


def a_campaign(number: int = 44, **changes: Any) -> Campaign:
    """Make an email campaign of project 1."""
    facts: dict[str, Any] = {
        "project_id": 1,
        "id": number,
        "name": f"campaign {number}",
        "channel": Channel.EMAIL,
        "providers": ("sandbox",),
        "sender": "a@example.com",
        "templates": {"default": Template(subject="s", text="t")},
        **changes,
    }
    return Campaign(**facts)


async def redrive(pool: Pool, wanted: AdminFilter, ids: Sequence[uuid.UUID] | None = None) -> int:
    """Put all dead letters that match back into the queue; return how many."""
    died_by, total = await admin_lists.database_time(pool), 0
    while True:
        async with pool.acquire() as connection, connection.transaction():
            count = len(await admin_lists.redrive(connection, wanted, died_by, ids))
        total += count
        if count < admin_lists.AT_ONCE:
            return total


async def cancel_all(pool: Pool, wanted: AdminFilter, ids: Sequence[uuid.UUID] | None = None) -> int:
    """Cancel all waiting triggers that match; return how many."""
    after: uuid.UUID | None = FIRST
    total = 0
    while after is not None:
        async with pool.acquire() as connection, connection.transaction():
            cancelled, after = await cancel_some(connection, wanted, after, ids)
        total += len(cancelled)
    return total


async def list_deliveries(
    pool: Pool, state: DeliveryState | None, wanted: AdminFilter, limit: int
) -> Sequence[DeliveryRow]:
    """Return the newest deliveries that match."""
    return (await list_page(pool, wanted, state=state, limit=limit)).rows


async def set_timezone(pool: Pool, name: str, timezone: str) -> Project:
    """Change the time zone of a project."""
    return await _update(pool, name, timezone=timezone)


async def limit_key(pool: Pool, key_id: uuid.UUID, limit: OwnLimit) -> ApiKey:
    """Change the rate limit of a key."""
    return await keys.update_key(pool, replace(await keys.find_key(pool, key_id), limit=limit))


async def limit_project(pool: Pool, name: str, limit: OwnLimit) -> Project:
    """Change the rate limit of a project."""
    return await _update(pool, name, limit=limit)


async def _update(pool: Pool, name: str, **changes: Any) -> Project:
    async with pool.acquire() as connection:
        project = await projects.find_project(connection, name)
        assert project
        return await projects.update_project(connection, replace(project, **changes))


def ended(
    claim: Claim,
    outcome: AttemptOutcome,
    *,
    retry_in: float | None = None,
    error: str = "",
    reached_provider: bool = True,
) -> Finished:
    """Return the outcome of a claim's attempt."""
    attempt = Attempt(
        number=claim.attempt,
        provider=claim.provider,
        outcome=outcome,
        started_at=dt.datetime.now(dt.UTC),
        duration=0.125,
        provider_message_id="m-1" if outcome is AttemptOutcome.DELIVERED else "",
        error=error,
        campaign_version=1,
        reached_provider=reached_provider,
    )
    return Finished(claim, attempt, retry_in)


@asynccontextmanager
async def writing(pool: Pool, *, max_pending: int = 2000) -> AsyncIterator[TriggerWriter]:
    """Run a writer for the block."""
    writer = TriggerWriter(pool, Notifier(pool), max_pending=max_pending)
    running = asyncio.create_task(writer.run())
    try:
        yield writer
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def accept(pool: Pool, *triggers: Trigger, place: Placement = PLACE) -> None:
    """Accept triggers as the server does."""
    async with writing(pool) as writer:
        await asyncio.gather(*(writer.add(trigger, place) for trigger in triggers))


def shares(**slots: int) -> list[ClaimRequest]:
    """Return claim requests for the email lanes of one provider, each of this size."""
    return [ClaimRequest(f"email/{provider}", provider, number) for provider, number in slots.items()]


@asynccontextmanager
async def held_commits(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Keep all insertions into the queue waiting for the block; gives a connection to look on."""
    holder, onlooker = await asyncpg.connect(url), await asyncpg.connect(url)
    try:
        async with holder.transaction():
            await holder.execute("LOCK TABLE queue IN ACCESS EXCLUSIVE MODE")
            yield onlooker
    finally:
        await holder.close()
        await onlooker.close()


async def waiting_backends(connection: Connection) -> list[int]:
    """Return the processes that wait for a lock."""
    rows = await connection.fetch(
        "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    return [row["pid"] for row in rows]


async def until_listening(queue: PostgresQueue) -> None:
    """Return when the queue listens; a wait may be too short to connect."""

    async def listens() -> bool:
        await queue.wait(0.05)
        return queue._listener is not None

    await until(listens, "the queue listens for news")


async def terminate_listeners(pool: Pool) -> int:
    """End all connections whose last statement was LISTEN; return how many there were."""
    rows = await pool.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE query ILIKE 'LISTEN%' AND pid <> pg_backend_pid() AND datname = current_database()"
    )
    return len(rows)
