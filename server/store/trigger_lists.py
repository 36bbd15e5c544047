"""Pages of a project's triggers, the newest first, each found by an index.

Ids of triggers are UUIDs of version 7, so that their order is that of time. Whatever a page is looked for by,
there is an index in the order of the ids that it is read from: of the campaign, of the user, or of what is in
the state; so a page is filled by as many rows as it holds, if most of what the index names is wanted.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..domain.delivery import Delivery, DeliveryState, Listed
from .deliveries import COLUMNS, RECORDS, delivery_of
from .delivery_lists import STATE
from .pool import Pool

__all__ = ["list_triggers", "statement"]

# An id is made shortly before its trigger is accepted, by another clock than that of `accepted_at`.
_CLOCKS_DIFFER = dt.timedelta(minutes=1)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
# What is in a state, by an index in the order of trigger ids. Of all others there are too many for one.
_IN_STATE = {
    DeliveryState.PENDING: "SELECT trigger_id FROM queue",
    DeliveryState.SENDING: "SELECT trigger_id FROM queue",
    DeliveryState.RETRYING: "SELECT trigger_id FROM queue",
    DeliveryState.DEAD: "SELECT trigger_id FROM dead_letter",
    DeliveryState.SUPPRESSED: "SELECT DISTINCT trigger_id FROM attempt WHERE outcome = 'suppressed'",
    DeliveryState.CANCELLED: "SELECT trigger_id FROM cancellation",
}


@dataclass(slots=True)
class _Query:
    """Conditions on the trigger `t`, and what their parameters stand for."""

    conditions: list[str] = field(default_factory=list)
    arguments: list[object] = field(default_factory=list)

    def add(self, condition: str, value: object) -> None:
        """Take a condition, whose `$` is the value."""
        self.arguments.append(value)
        self.conditions.append(condition.replace("$", f"${len(self.arguments)}"))

    @property
    def where(self) -> str:
        """All conditions."""
        return " AND ".join(self.conditions)


async def list_triggers(
    pool: Pool, project_id: int, listed: Listed, *, after: uuid.UUID | None, limit: int
) -> list[Delivery]:
    """Return up to `limit` deliveries of a project, the newest first; `after`: those older than this one."""
    text, arguments = statement(project_id, listed, after=after, limit=limit)
    return [delivery_of(row) for row in await pool.fetch(text, *arguments)]


def statement(
    project_id: int, listed: Listed, *, after: uuid.UUID | None, limit: int
) -> tuple[str, list[object]]:
    """Return the SQL of a page and its arguments.

    The limit stands in the text: PostgreSQL chooses another plan for 50 rows than for any number of them.
    """
    query = _query(project_id, listed, after)
    chosen = f"SELECT t.id FROM {_source(listed, query, limit)} ORDER BY t.id DESC LIMIT {int(limit)}"  # noqa: S608 - see below
    text = f"""
        WITH chosen AS MATERIALIZED ({chosen})
        SELECT {COLUMNS}
        FROM chosen CROSS JOIN LATERAL (SELECT * FROM trigger WHERE id = chosen.id OFFSET 0) AS t {RECORDS}
        ORDER BY t.id DESC
    """  # noqa: S608 - the values are arguments
    return text, query.arguments


def _source(listed: Listed, query: _Query, limit: int) -> str:
    """Return where the ids come from, with all conditions."""
    if listed.state in _IN_STATE and listed.external_id is None:
        return _of_state(_IN_STATE[listed.state], query)
    records = f"{RECORDS}" if listed.state else ""
    if listed.campaign_id is not None or listed.external_id is not None:
        return f"trigger t {records} WHERE {query.where}"
    # Each campaign has its newest first: no more than a page of each is needed.
    return f"""campaign g CROSS JOIN LATERAL (
        SELECT t.id FROM trigger t {records} WHERE t.campaign_id = g.id AND {query.where}
        ORDER BY t.id DESC LIMIT {int(limit)}) AS t WHERE g.project_id = $1"""  # noqa: S608 - see above


def _of_state(source: str, query: _Query) -> str:
    return f"({source}) AS s JOIN trigger t ON t.id = s.trigger_id {RECORDS} WHERE {query.where}"


def _query(project_id: int, listed: Listed, after: uuid.UUID | None) -> _Query:
    query = _Query()
    query.add("t.project_id = $", project_id)
    for condition, value in _conditions(listed):
        if value is not None:
            query.add(condition, value)
    if after is not None:
        query.add("t.id < $", after)
    return query


def _conditions(listed: Listed) -> Iterator[tuple[str, object]]:
    yield "t.campaign_id = $", listed.campaign_id
    yield "t.external_id = $", listed.external_id
    yield f"{STATE} = $", listed.state.value if listed.state else None
    if listed.since:
        yield "t.id >= $", _id_at(listed.since, -_CLOCKS_DIFFER)
        yield "t.accepted_at >= $", listed.since
    if listed.before:
        yield "t.id < $", _id_at(listed.before, _CLOCKS_DIFFER)
        yield "t.accepted_at < $", listed.before


def _id_at(moment: dt.datetime, more: dt.timedelta) -> uuid.UUID:
    """Return the least UUID of version 7 of a moment (https://www.rfc-editor.org/rfc/rfc9562#section-5.7)."""
    milliseconds = (moment - _EPOCH + more) // dt.timedelta(milliseconds=1)
    return uuid.UUID(int=max(0, milliseconds) << 80)
