"""Pages of a project's triggers, the newest first, each found by an index.

Ids of triggers are UUIDs of version 7, so that their order is that of time. Whatever a page is looked for by,
there is an index in the order of the ids that it is read from: of the campaign, of the user, or of what is in
the state. So the more of what the index names is wanted, the fewer rows are read.
"""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass, field

import asyncpg

from ...domain.delivery import Delivery, DeliveryFilter, DeliveryState
from ...errors import TimedOut
from ..pool import Pool
from .admin_lists import STATE
from .find import COLUMNS, RECORDS, delivery_of

__all__ = ["list_triggers"]

# An id is made shortly before its trigger is accepted, by another clock than that of `accepted_at`.
_CLOCKS_DIFFER = 60_000  # milliseconds
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_NARROWER = "The list took too long: ask for less, by external_id, campaign_id or accepted_since."
_COUNTED = 100_000  # rows: that takes some 10 ms, and to look through as many 0.1 to 0.4 s
# What is in a state, by an index in the order of trigger ids. All others are too many for one.
_IN_STATE = {
    DeliveryState.PENDING: "queue WHERE true",
    DeliveryState.SENDING: "queue WHERE true",
    DeliveryState.RETRYING: "queue WHERE true",
    DeliveryState.DEAD: "dead_letter WHERE true",
    DeliveryState.SUPPRESSED: "attempt WHERE outcome = 'suppressed'",
    DeliveryState.CANCELLED: "cancellation WHERE true",
}


@dataclass(slots=True)
class _Query:
    """The conditions of a page, and what their parameters stand for."""

    limit: int
    arguments: list[object] = field(default_factory=list)
    on_id: str = ""
    """On an id, which is called `{id}`."""
    on_trigger: str = ""
    """On the columns of `trigger`."""
    on_state: str = ""
    """On all that is on record."""

    def value(self, value: object) -> str:
        """Return the parameter that stands for a value."""
        self.arguments.append(value)
        return f"${len(self.arguments)}"


async def list_triggers(
    pool: Pool, project_id: int, listed: DeliveryFilter, *, after: uuid.UUID | None, limit: int
) -> list[Delivery]:
    """Return up to `limit` deliveries of a project, the newest first; `after`: those older than this one.

    The pool was opened with the settings `READING`.

    Raises:
        TimedOut: too many rows have to be looked through.
    """
    query = _query(project_id, listed, after, limit)
    by_state = listed.state in _IN_STATE and await _fewer_are_in_state(pool, project_id, listed)
    chosen = _of_state(query, listed) if by_state else _of_triggers(query, listed)
    text = f"""
        WITH chosen AS MATERIALIZED ({chosen})
        SELECT {COLUMNS}
        FROM chosen CROSS JOIN LATERAL (SELECT * FROM trigger WHERE id = chosen.id OFFSET 0) AS t {RECORDS}
        ORDER BY t.id DESC
    """  # noqa: S608 - the values are arguments
    try:
        return [delivery_of(row) for row in await pool.fetch(text, *query.arguments)]
    except asyncpg.QueryCanceledError as error:
        raise TimedOut(_NARROWER) from error


async def _fewer_are_in_state(pool: Pool, project_id: int, listed: DeliveryFilter) -> bool:
    """Tell whether no more are in the state than the user, the campaign or the project has triggers.

    What is more than can be counted soon counts as the same.
    """
    assert listed.state is not None  # noqa: S101 - its caller's business
    query = _query(project_id, DeliveryFilter(listed.campaign_id, listed.external_id), None, _COUNTED)
    text = f"""
        SELECT (SELECT count(*) FROM (SELECT FROM {_IN_STATE[listed.state]} LIMIT {query.limit}) AS s) <=
            (SELECT count(*) FROM (SELECT FROM trigger WHERE {query.on_trigger} LIMIT {query.limit}) AS t)
    """  # noqa: S608 - see above
    fewer: bool = await pool.fetchval(text, *query.arguments)
    return fewer


def _of_state(query: _Query, listed: DeliveryFilter) -> str:
    """Return the ids, from all that is in the state, whosever it is."""
    assert listed.state is not None  # noqa: S101 - its caller's business
    return f"""
        SELECT DISTINCT ON (s.id) s.id FROM (
            SELECT trigger_id AS id FROM {_IN_STATE[listed.state]}{query.on_id.format(id="trigger_id")}
            ORDER BY trigger_id DESC OFFSET 0) AS s
        CROSS JOIN LATERAL (SELECT * FROM trigger WHERE id = s.id AND {query.on_trigger} OFFSET 0) AS t
        {RECORDS} WHERE true{query.on_state} ORDER BY s.id DESC LIMIT {query.limit}
    """  # noqa: S608 - see above


def _of_triggers(query: _Query, listed: DeliveryFilter) -> str:
    """Return the ids, from all triggers of the user, the campaign, or each of the project's campaigns.

    Of each campaign no more than a page is needed.
    """
    if listed.campaign_id is not None or listed.external_id is not None:
        return _newest(query, listed, "true")
    return f"""
        SELECT newest.id FROM campaign
        CROSS JOIN LATERAL ({_newest(query, listed, "campaign_id = campaign.id")}) AS newest
        WHERE campaign.project_id = $1 ORDER BY newest.id DESC LIMIT {query.limit}
    """  # noqa: S608 - see above


def _newest(query: _Query, listed: DeliveryFilter, condition: str) -> str:
    records = RECORDS if listed.state else ""
    return f"""
        SELECT t.id FROM (
            SELECT * FROM trigger WHERE {query.on_trigger}{query.on_id.format(id="id")} AND {condition}
            ORDER BY id DESC OFFSET 0) AS t
        {records} WHERE true{query.on_state} ORDER BY t.id DESC LIMIT {query.limit}
    """  # noqa: S608 - see above


def _query(project_id: int, listed: DeliveryFilter, after: uuid.UUID | None, limit: int) -> _Query:
    """Return the conditions. The limit is no parameter: plans for 50 rows are others than for any number."""
    query = _Query(limit)
    query.on_trigger = f"project_id = {query.value(project_id)}"
    if listed.campaign_id is not None:
        query.on_trigger += f" AND campaign_id = {query.value(listed.campaign_id)}"
    if listed.external_id is not None:
        query.on_trigger += f" AND external_id = {query.value(listed.external_id)}"
    if listed.state is not None:
        query.on_state = f" AND {STATE} = {query.value(listed.state.value)}"
    if after is not None:
        query.on_id += f" AND {{id}} < {query.value(after)}"
    if listed.since is not None:
        query.on_id += f" AND {{id}} >= {query.value(_id_at(listed.since, -_CLOCKS_DIFFER))}"
        query.on_trigger += f" AND accepted_at >= {query.value(listed.since)}"
    if listed.before is not None:
        query.on_id += f" AND {{id}} < {query.value(_id_at(listed.before, _CLOCKS_DIFFER))}"
        query.on_trigger += f" AND accepted_at < {query.value(listed.before)}"
    return query


def _id_at(moment: dt.datetime, more: int) -> uuid.UUID:
    """Return the least UUID of version 7 of a moment (https://www.rfc-editor.org/rfc/rfc9562#section-5.7)."""
    milliseconds = (moment - _EPOCH) // dt.timedelta(milliseconds=1) + more
    return uuid.UUID(int=max(0, milliseconds) << 80)
