"""Reads the delivery of a trigger from the record and the queue."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import asyncpg

from ...domain.campaign import Channel
from ...domain.delivery import Attempt, AttemptOutcome, Delivery, DeliveryState
from ..id_ranges import range_of
from ..pool import Pool
from ..sql import load

__all__ = ["delivery_of", "find_deliveries", "find_delivery"]

_DUE_STATES = {DeliveryState.PENDING, DeliveryState.RETRYING}
_FIND = load("records/find.sql")["find"]


async def find_delivery(pool: Pool, trigger_id: uuid.UUID, project_id: int | None = None) -> Delivery | None:
    """Return the delivery of a trigger (of the project, if given), with all its attempts."""
    found = await find_deliveries(pool, [trigger_id], project_id)
    return found.get(trigger_id)


async def find_deliveries(
    pool: Pool, trigger_ids: Sequence[uuid.UUID], project_id: int | None = None
) -> dict[uuid.UUID, Delivery]:
    """Return the deliveries of those triggers that exist (in the project, if given), by trigger id."""
    rows = await pool.fetch(*_FIND(ids=trigger_ids, project_id=project_id, **range_of(trigger_ids)))
    return {row["id"]: delivery_of(row) for row in rows}


def delivery_of(row: asyncpg.Record) -> Delivery:
    """Return the delivery that a row of the fragment `delivery_columns` describes."""
    state = DeliveryState(row["state"])
    return Delivery(
        trigger_id=row["id"],
        project_id=row["project_id"],
        campaign_id=row["campaign_id"],
        channel=Channel(row["channel"]),
        external_id=row["external_id"],
        state=state,
        accepted_at=row["accepted_at"],
        next_attempt_at=row["due_at"] if state in _DUE_STATES else None,
        attempts=tuple(_attempt(attempt) for attempt in row["attempts"]),
        send_at=row["send_at"],
        key_id=row["key_id"],
        cancelled_at=row["cancelled_at"],
        test=row["test"],
    )


def _attempt(row: asyncpg.Record) -> Attempt:
    return Attempt(
        number=row["number"],
        provider=row["provider"],
        outcome=AttemptOutcome(row["outcome"]),
        started_at=row["started_at"],
        duration=row["duration"],
        provider_message_id=row["provider_message_id"],
        error=row["error"],
        campaign_version=row["campaign_version"],
        reached_provider=row["reached_provider"],
    )
