"""Reads what triggers wait for, from the queue and from the reports of dispatchers."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Sequence

import asyncpg
import msgspec

from ...domain.campaign import TEST_PROVIDER, SendWindow
from ...domain.delivery import AttemptOutcome
from ...domain.sending_hold import SendingHold
from ...domain.waiting import (
    MOST_AHEAD,
    DispatcherReport,
    ProviderStatus,
    Queued,
    Waiting,
    why_due,
    why_waiting,
)
from ..pool import Connection, Pool
from ..queue.sending_hold import find_hold
from ..sql import load

__all__ = [
    "find_lane_waits",
    "find_providers",
    "find_reports",
    "find_waiting",
]

_SQL = load("records/waiting.sql")
_providers = msgspec.json.Decoder(dict[str, ProviderStatus])
_window = msgspec.json.Decoder(SendWindow | None)


async def find_waiting(
    database: Pool | Connection, trigger_id: uuid.UUID, reports: Sequence[DispatcherReport]
) -> Waiting | None:
    """Return what a trigger waits for, or None if it is not queued.

    Args:
        database: The database.
        trigger_id: The trigger.
        reports: What dispatchers report.
    """
    row = await database.fetchrow(*_SQL["find_queued"](id=trigger_id, most_ahead=MOST_AHEAD))
    return why_waiting(_queued(row), reports) if row else None


async def find_lane_waits(pool: Pool, lanes: Collection[str]) -> dict[str, Waiting]:
    """Return what the due triggers of each lane wait for."""
    now, reports = await find_reports(pool)
    held = await find_hold(pool)
    return {lane: why_due(lane, now, reports, held=held) for lane in lanes}


async def find_providers(pool: Pool) -> dict[str, frozenset[str]] | None:
    """Return the providers that a running dispatcher has; None if none runs, or one does not report them.

    Returns:
        The channels of each provider; empty if the version of its dispatcher does not report them.
    """
    reports = (await find_reports(pool))[1]
    if not reports or any(report.providers is None for report in reports):
        return None
    found: dict[str, frozenset[str]] = {}
    for name, status in (one for report in reports for one in (report.providers or {}).items()):
        if name != TEST_PROVIDER:
            found[name] = found.get(name, frozenset()) | frozenset(status.channels)
    return found


async def find_reports(database: Pool | Connection) -> tuple[dt.datetime, list[DispatcherReport]]:
    """Return the database's time and the last report of each running dispatcher."""
    rows = await database.fetch(*_SQL["find_dispatchers"]())
    return rows[0]["now"], [_report(row) for row in rows if row["seen_at"]]


def _report(row: asyncpg.Record) -> DispatcherReport:
    providers = row["providers"]
    return DispatcherReport(
        row["seen_at"], _providers.decode(providers) if providers else None, str(row["id"])
    )


def _queued(row: asyncpg.Record) -> Queued:
    outcome = row["last_outcome"]
    return Queued(
        now=row["now"],
        due_at=row["due_at"],
        lane=row["lane"],
        sent_by=row["sent_by"] or "",
        ahead=row["ahead"],
        send_at=row["send_at"],
        last_outcome=AttemptOutcome(outcome) if outcome else None,
        window=_window.decode(row["send_window"]) if row["send_window"] else None,
        timezone=row["timezone"],
        project_timezone=row["project_timezone"],
        held=SendingHold(row["held_at"], row["held_by"], row["hold_reason"]) if row["held_at"] else None,
    )
