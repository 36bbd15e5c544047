"""Pages of a project's triggers, the newest first, each read from an index.

Ids of triggers are UUIDs of version 7, so they are in the order of time. For each filter (campaign, user,
state) there is an index in the order of ids. A list reads the index of the filter that the fewest triggers
match.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from operator import attrgetter

import asyncpg

from ...domain.delivery import Delivery, DeliveryFilter, DeliveryState
from ...errors import TimedOut
from ..id_ranges import first_id_at, week_before
from ..pool import Pool
from ..sql import Statement, load
from .find import delivery_of, find_deliveries

__all__ = ["CLOCK_DIFFERENCE", "list_triggers"]

CLOCK_DIFFERENCE = 60_000
"""Milliseconds: an ID is made shortly before its trigger is accepted, and by another clock."""
_NARROWER = "The list took too long; narrow it with external_id, campaign_id or accepted_since."
_COUNT_LIMIT = 100_000  # rows: counting them takes about 10 ms, and reading them 0.1 to 0.4 s
_FEW = 1_000
_SQL = load("records/pages.sql")
_OF_STATE = {
    DeliveryState.PENDING: _SQL["page_of_queue"],
    DeliveryState.SENDING: _SQL["page_of_queue"],
    DeliveryState.RETRYING: _SQL["page_of_queue"],
    DeliveryState.DEAD: _SQL["page_of_dead_letters"],
    DeliveryState.SUPPRESSED: _SQL["page_of_suppressed"],
    DeliveryState.CANCELLED: _SQL["page_of_cancelled"],
}
"""The statements for states whose triggers are found by an index in the order of ids."""


async def list_triggers(
    pool: Pool, project_id: int, listed: DeliveryFilter, *, after: uuid.UUID | None, limit: int
) -> list[Delivery]:
    """Return a page of a project's deliveries, the newest trigger first.

    Args:
        pool: The database, opened with the settings `READING`.
        project_id: The project.
        listed: Which of its deliveries.
        after: Only triggers older than this one.
        limit: The maximum number of deliveries.

    Raises:
        TimedOut: Too many rows would have to be read.
    """
    first = first_id_at(listed.since, -CLOCK_DIFFERENCE) if listed.since else None
    ends = [after, first_id_at(listed.before, CLOCK_DIFFERENCE) if listed.before else None]
    end = min((one for one in ends if one), default=None)
    values: dict[str, object] = {
        **_owner(project_id, listed),
        "since": listed.since,
        "before": listed.before,
        "limit": limit,
    }
    if listed.state:
        values["state"] = listed.state.value
    try:
        statement = await _statement(pool, project_id, listed)
        found = await _newest(pool, statement, values, first, end)
        if listed.state:
            return [delivery_of(row) for row in found]
        deliveries = await find_deliveries(pool, [row["id"] for row in found])
    except asyncpg.QueryCanceledError as error:
        raise TimedOut(_NARROWER) from error
    return sorted(deliveries.values(), key=attrgetter("trigger_id"), reverse=True)


async def _newest(
    pool: Pool,
    statement: Statement,
    values: Mapping[str, object],
    first: uuid.UUID | None,
    end: uuid.UUID | None,
) -> list[asyncpg.Record]:
    """Return the newest rows of a range of IDs: those of its last week, and older ones if these are few."""
    limit: int = values["limit"]  # type: ignore[assignment]
    week = week_before(end)
    if first and first >= week:
        return await pool.fetch(*statement(**values, first_id=first, end_id=end))
    newest = await pool.fetch(*statement(**values, first_id=week, end_id=end))
    if len(newest) == limit:
        return newest
    others = {**values, "limit": limit - len(newest), "first_id": first, "end_id": week}
    return [*newest, *await pool.fetch(*statement(**others))]


async def _statement(pool: Pool, project_id: int, listed: DeliveryFilter) -> Statement:
    """Return the statement that reads the fewest rows."""
    if listed.state in _OF_STATE and await _fewer_in_state(pool, project_id, listed):
        return _OF_STATE[listed.state]
    is_narrow = listed.campaign_id is not None or listed.external_id is not None
    name = "page" if is_narrow else "page_of_project"
    return _SQL[f"{name}_in_state" if listed.state else name]


async def _fewer_in_state(pool: Pool, project_id: int, listed: DeliveryFilter) -> bool:
    """Return whether the state has few triggers, or no more than the user, the campaign or the project."""
    assert listed.state is not None  # noqa: S101 - the caller has checked
    state = listed.state.value
    if await pool.fetchval(*_SQL["count_in_state"](state=state, limit=_FEW)) < _FEW:
        return True
    values = {**_owner(project_id, listed), "state": state, "limit": _COUNT_LIMIT}
    fewer: bool = await pool.fetchval(*_SQL["fewer_in_state"](**values))
    return fewer


def _owner(project_id: int, listed: DeliveryFilter) -> dict[str, object]:
    return {
        "project_id": project_id,
        "campaign_id": listed.campaign_id,
        "external_id": listed.external_id,
        "test": listed.test,
    }
