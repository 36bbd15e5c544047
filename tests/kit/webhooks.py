"""What the tests of webhooks share: endpoints, claims of messages, and how their attempts ended."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from server.domain.delivery import Attempt, AttemptOutcome, ClaimRequest, Finished, HttpReply
from server.domain.trigger import Trigger
from server.domain.webhook import Endpoint, EventType, WebhookClaim, new_secret
from server.store.admin.endpoints import create_endpoint
from server.store.admin.webhook_log import database_time, retry_messages
from server.store.pool import Pool
from server.store.queue.triggers import PostgresQueue
from server.store.queue.webhooks import WebhookQueue
from tests.kit.documented_schemas import check_webhook
from tests.kit.store import a_trigger, accept, ended, shares

URL = "https://hooks.example/clarion"


async def an_endpoint(pool: Pool, *events: EventType, project: str = "one", url: str = URL) -> Endpoint:
    """Create an endpoint that receives these events, or all."""
    wanted = events or tuple(EventType)
    async with pool.acquire() as connection, connection.transaction():
        return await create_endpoint(connection, project=project, url=url, events=wanted, secret=new_secret())


async def retried(pool: Pool, **which: Any) -> int:
    """Retry failed messages; return how many."""
    async with pool.acquire() as connection, connection.transaction():
        counts, done = await retry_messages(connection, await database_time(pool), **which)
    assert done
    return counts.total()


async def happened(
    pool: Pool, outcome: AttemptOutcome = AttemptOutcome.DELIVERED, *, error: str = "", **facts: Any
) -> Trigger:
    """Accept a trigger, claim it, and finish its attempt so."""
    queue, trigger = PostgresQueue(pool), a_trigger(**facts)
    await accept(pool, trigger)
    [claim] = await queue.claim(shares(sandbox=1), 60)
    await queue.finish([ended(claim, outcome, error=error)])
    return trigger


async def events_of(pool: Pool) -> list[Any]:
    """Return the messages to endpoints, oldest first."""
    rows = await pool.fetch("SELECT body FROM webhook_message ORDER BY created_at")
    events = [json.loads(row["body"]) for row in rows]
    for event in events:
        check_webhook(event)
    return events


async def claimed(
    queue: WebhookQueue, *endpoints: Endpoint, lease: float = 60, slots: int = 10
) -> list[WebhookClaim]:
    """Claim what is due of these endpoints."""
    names = [str(endpoint.id) for endpoint in endpoints]
    return await queue.claim([ClaimRequest(f"webhook/{name}", name, slots) for name in names], lease)


def answered(
    claim: WebhookClaim, status: int | None, *, retry_in: float | None = None, lost: bool = False
) -> Finished[WebhookClaim]:
    """Record the response to an attempt: retried after a delay if given, otherwise final."""
    if lost:
        outcome = AttemptOutcome.LOST
    elif retry_in is not None:
        outcome = AttemptOutcome.RETRY
    else:
        outcome = AttemptOutcome.DELIVERED if status == 204 else AttemptOutcome.DEAD
    error = "" if outcome is AttemptOutcome.DELIVERED else f"HTTP {status}"
    attempt = Attempt(claim.attempt, claim.provider, outcome, dt.datetime.now(dt.UTC), 0.125, error=error)
    if status is None:
        return Finished(claim, attempt, retry_in)
    return Finished(claim, attempt, retry_in, reply=HttpReply(status, "said"))
