"""Reads the state of the whole system."""

from __future__ import annotations

from collections.abc import Sequence

from ...domain.campaign import Channel, is_test_lane
from ...domain.figures import QueueState
from ...domain.system_status import (
    ChannelStatus,
    DeadLetters,
    Disk,
    Process,
    Replication,
    SystemStatus,
    WebhookSummary,
    provider_summaries,
)
from ...domain.waiting import why_due
from ..figures import MOST_COUNTED, crowds, database_figures, queued
from ..pool import Pool
from ..queue.sending_hold import find_hold
from ..queue.triggers import PostgresQueue
from ..retention_days import find_shorter
from ..sql import load
from .admin_lists import dead_letters, oldest_due
from .waiting import find_reports

__all__ = ["system_status"]

_SQL = load("records/system_status.sql")
_SCANNED = 5000
"""Dead letters that are grouped by error."""
_GROUPS = 10
_ENDPOINTS = 20
"""Failing webhook endpoints that are shown."""


async def system_status(
    pool: Pool, *, schema: tuple[str, str], missing_indexes: Sequence[str], disk: Disk | None
) -> SystemStatus:
    """Return the state of the system.

    Args:
        pool: The database.
        schema: The version of its schema, and the version that this process was built for.
        missing_indexes: The indexes that are missing or invalid.
        disk: The disk of the data folder, if there is one.
    """
    replication = await pool.fetchrow(*_SQL["replication"]())
    assert replication  # noqa: S101 - it has no FROM
    _, reports = await find_reports(pool)
    held = await find_hold(pool)
    processes = [Process(**{**row, "id": str(row["id"])}) for row in await pool.fetch(*_SQL["processes"]())]
    failing = await pool.fetch(*_SQL["failing_webhooks"](most=MOST_COUNTED, limit=_ENDPOINTS))
    groups = await pool.fetch(*_SQL["dead_letter_errors"](most=_SCANNED, limit=_GROUPS))
    lanes = sorted(lane for lane in await PostgresQueue(pool).lanes() if not is_test_lane(lane))
    waits = {lane: why_due(lane, replication["now"], reports, held=held).detail for lane in lanes}
    return SystemStatus(
        now=replication["now"],
        processes=processes,
        schema_version=schema[0],
        schema_needed=schema[1],
        missing_indexes=missing_indexes,
        channels=await _channels(pool, waits),
        providers=provider_summaries(reports),
        dead_letters=await dead_letters(pool),
        dead_letters_last_hour=await pool.fetchval(*_SQL["recent_dead_letters"](most=_SCANNED)),
        dead_letter_errors=[DeadLetters(**row) for row in groups],
        database=await database_figures(pool),
        replication=Replication(replication["replicas"], replication["is_synchronous"]),
        disk=disk,
        crowds=await crowds(pool, lanes),
        failing_webhooks=[WebhookSummary(**{**row, "id": str(row["id"])}) for row in failing],
        held=held,
        shorter_retentions=await find_shorter(pool),
    )


async def _channels(pool: Pool, waits: dict[str, str]) -> list[ChannelStatus]:
    """Return the queue of each channel.

    Args:
        pool: The database.
        waits: What the due triggers of each lane wait for.
    """
    counts = await queued(pool, list(waits))
    oldest = await oldest_due(pool, list(waits))
    found = []
    for channel in Channel:
        why = dict.fromkeys(text for lane, text in waits.items() if lane.startswith(f"{channel}/"))
        found.append(
            ChannelStatus(
                channel=channel.value,
                due=counts.get((channel, QueueState.DUE), 0),
                later=counts.get((channel, QueueState.LATER), 0),
                sending=counts.get((channel, QueueState.SENDING), 0),
                oldest_due=oldest.get(channel, 0.0),
                why="; ".join(why) if channel in oldest else "",
            )
        )
    return found
