"""Pages and counts of deliveries of several projects; each looks at a bounded number of triggers."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import asyncpg

from ...domain.campaign import Channel
from ...domain.delivery import Delivery, DeliveryState
from ..id_ranges import first_id_at, range_of, week_before
from ..pool import Connection, Pool, reading
from ..sql import Statement, load
from .admin_lists import AdminFilter
from .find import delivery_of
from .pages import CLOCK_DIFFERENCE

__all__ = [
    "Count",
    "DeadLetterGroup",
    "DeliveryPage",
    "DeliveryRow",
    "Detail",
    "count_changeable",
    "dead_letter_groups",
    "find_detail",
    "list_page",
]

_SQL = load("records/admin_pages.sql")
_SCANNED_FIRST, _SCANNED = 250, 5_000
"""Triggers that a page looks at: few, which mostly fill it, and otherwise many: 10 to 25 ms of CPU time."""
_COUNTED = 10_000
"""Dead letters or waiting triggers that a count looks at: up to 80 ms of CPU time."""
_GROUPED = 5_000
_GROUPS = 100
_OF_STATE = {
    DeliveryState.PENDING: _SQL["of_queue"],
    DeliveryState.SENDING: _SQL["of_queue"],
    DeliveryState.RETRYING: _SQL["of_queue"],
    DeliveryState.DEAD: _SQL["of_dead_letters"],
    DeliveryState.SUPPRESSED: _SQL["of_suppressed"],
    DeliveryState.CANCELLED: _SQL["of_cancelled"],
}


@dataclass(frozen=True, slots=True, repr=False)
class DeliveryRow:
    """One delivery in a list. The repr omits it, because it has an address."""

    trigger_id: uuid.UUID
    project_id: int
    project: str
    campaign_id: int
    channel: Channel
    external_id: str
    address: str
    state: DeliveryState
    accepted_at: dt.datetime
    attempts: int
    provider: str
    error: str
    test: bool
    test_send: bool
    retain: str


class DeliveryPage(NamedTuple):
    """A page, and the trigger after which the next one starts; None on the last page."""

    rows: Sequence[DeliveryRow]
    next_after: uuid.UUID | None


class Count(NamedTuple):
    """How many deliveries match; more may if `is_partial`, because only the newest were looked at."""

    matching: int
    is_partial: bool


class DeadLetterGroup(NamedTuple):
    """Dead letters with the same project, campaign, provider and error, but for its digits."""

    project: str
    campaign_id: int
    provider: str
    error: str
    dead_letters: int
    first_at: dt.datetime
    last_at: dt.datetime
    sample_id: uuid.UUID


class Detail(NamedTuple):
    """A delivery, and what else the record knows of its trigger."""

    delivery: Delivery
    address: str
    traceparent: str
    project: str
    key_name: str
    test_send: bool
    retain: str


async def list_page(
    pool: Pool,
    wanted: AdminFilter,
    *,
    state: DeliveryState | None = None,
    after: uuid.UUID | None = None,
    limit: int,
) -> DeliveryPage:
    """Return a page of the deliveries that match. It may be short, or empty, although more pages follow.

    Args:
        pool: The database.
        wanted: Which deliveries.
        state: Only deliveries in this state.
        after: Only triggers older than this one.
        limit: The maximum number of deliveries.
    """
    statement = _statement(wanted, state)
    values = {**_scanning(wanted, after), "state": state, "limit": limit}
    async with reading(pool, join_collapse_limit="1") as connection:
        if "projects" in statement.parameters:
            values["projects"] = await _project_ids(connection, wanted)
        for scan, first_id in _scans(values):
            arguments = {**values, "scan": scan, "first_id": first_id}
            page = _page(await connection.fetch(*statement(**arguments)), limit, scan)
            if len(page.rows) == limit or (first_id == values["first_id"] and not page.next_after):
                break
    return page


def _scans(values: Mapping[str, Any]) -> Iterator[tuple[int, uuid.UUID | None]]:
    """Return how many triggers to look at, from which ID on, until a page is full.

    First in few partitions, then at few triggers of any, and at last at many.
    """
    first, week = values["first_id"], week_before(values["end_id"])
    if first is None or first < week:
        yield _SCANNED_FIRST, week
    yield _SCANNED_FIRST, first
    yield _SCANNED, first


async def count_changeable(pool: Pool, wanted: AdminFilter, *, dead: bool) -> Count:
    """Return how many deliveries match that can be retried or cancelled.

    Args:
        pool: The database.
        wanted: Which deliveries.
        dead: Whether to count dead letters, or triggers that wait.
    """
    needs_attempt = (wanted.error, wanted.provider, wanted.error_group) != (None, None, None)
    name = "count_dead" if dead else "count_waiting"
    if wanted.external_id is not None:
        name += "_of_user"
    elif wanted.address is not None:
        name += "_of_address"
    values = {**_scanning(wanted, None), "scan": _COUNTED, "needs_attempt": needs_attempt}
    statement = _SQL[name]
    async with reading(pool) as connection:
        if "projects" in statement.parameters:
            values["projects"] = await _project_ids(connection, wanted)
        row = await connection.fetchrow(*statement(**values))
    assert row is not None  # noqa: S101 - an aggregate always has one row
    return Count(row["matching"], row["scanned"] == _COUNTED)


async def dead_letter_groups(pool: Pool, wanted: AdminFilter) -> list[DeadLetterGroup]:
    """Return the groups of the newest 5,000 dead letters of the filter's projects, the largest first."""
    async with reading(pool) as connection:
        projects = await _project_ids(connection, wanted)
        statement = _SQL["dead_letter_groups"](projects=projects, scan=_GROUPED, limit=_GROUPS)
        return [DeadLetterGroup(**row) for row in await connection.fetch(*statement)]


async def find_detail(database: Pool | Connection, trigger_id: uuid.UUID) -> Detail | None:
    """Return the delivery of a trigger, or None if it does not exist."""
    row = await database.fetchrow(*_SQL["detail"](id=trigger_id, **range_of([trigger_id])))
    if row is None:
        return None
    return Detail(
        delivery=delivery_of(row),
        address=row["address"],
        traceparent=row["traceparent"],
        project=row["project"],
        key_name=row["key_name"],
        test_send=row["test_send"],
        retain=row["retain"],
    )


def _scanning(wanted: AdminFilter, after: uuid.UUID | None) -> dict[str, object]:
    """Return the arguments of all statements that scan a bounded number of triggers, without the number."""
    ends = [after, first_id_at(wanted.before, CLOCK_DIFFERENCE) if wanted.before else None]
    return {
        **wanted.arguments(),
        "first_id": first_id_at(wanted.since, -CLOCK_DIFFERENCE) if wanted.since else None,
        "end_id": min((one for one in ends if one), default=None),
    }


def _statement(wanted: AdminFilter, state: DeliveryState | None) -> Statement:
    """Return the statement that is expected to look at the fewest triggers."""
    if wanted.external_id is not None:
        return _SQL["of_user"]
    if wanted.address is not None:
        return _SQL["of_address"]
    if state in _OF_STATE:
        return _OF_STATE[state]
    return _SQL["of_all" if wanted.campaign_id is None else "of_campaign"]


async def _project_ids(connection: Connection, wanted: AdminFilter) -> Collection[int]:
    visible = wanted.arguments()["visible"]
    rows = await connection.fetch(*_SQL["project_ids"](visible=visible, project=wanted.project))
    return [row["id"] for row in rows]


def _page(rows: Sequence[asyncpg.Record], limit: int, scan: int) -> DeliveryPage:
    found = [_row(row) for row in rows if row["id"]]
    looked_at = rows[0]
    if len(found) == limit:
        return DeliveryPage(found, found[-1].trigger_id)
    return DeliveryPage(found, looked_at["last_scanned"] if looked_at["scanned"] == scan else None)


def _row(row: asyncpg.Record) -> DeliveryRow:
    return DeliveryRow(
        trigger_id=row["id"],
        project_id=row["project_id"],
        project=row["project"],
        campaign_id=row["campaign_id"],
        channel=Channel(row["channel"]),
        external_id=row["external_id"],
        address=row["address"],
        state=DeliveryState(row["state"]),
        accepted_at=row["accepted_at"],
        attempts=row["attempts"],
        provider=row["provider"],
        error=row["error"],
        test=row["test"],
        test_send=row["test_send"],
        retain=row["retain"],
    )
