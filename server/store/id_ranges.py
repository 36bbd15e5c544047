"""Ranges of the IDs of triggers, which are UUIDs of version 7 and so begin with the time.

Tables of triggers are partitioned by ID. A statement with a range of IDs skips the partitions of other times
when it is planned, or with a kept plan when it starts. Without a range, it prepares to read each partition,
which takes 6 µs for a kept plan, and ten times as long for a new one.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection
from typing import TypedDict

__all__ = ["ALL_IDS", "IdRange", "first_id_at", "range_of", "recent_ids", "week_before"]

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_WEEK, _DAY = dt.timedelta(days=7), dt.timedelta(days=1)


class IdRange(TypedDict):
    """The arguments of statements for a range of IDs: from `first_id`, and before `end_id`."""

    first_id: uuid.UUID
    end_id: uuid.UUID


ALL_IDS = IdRange(first_id=uuid.UUID(int=0), end_id=uuid.UUID(int=(1 << 128) - 1))


def range_of(ids: Collection[uuid.UUID]) -> IdRange:
    """Return the range from the oldest to the newest of these triggers."""
    if not ids:
        return ALL_IDS
    end = min(max(ids).int + 1, ALL_IDS["end_id"].int)  # of the highest UUID, which no trigger has
    return IdRange(first_id=min(ids), end_id=uuid.UUID(int=end))


def recent_ids() -> IdRange:
    """Return the range of triggers of the last week. A server's clock may be a day ahead of this one."""
    now = dt.datetime.now(dt.UTC)
    return IdRange(first_id=first_id_at(now - _WEEK, 0), end_id=first_id_at(now + _DAY, 0))


def week_before(end: uuid.UUID | None) -> uuid.UUID:
    """Return the first ID of the week before an ID, or of the last week."""
    week = _WEEK // dt.timedelta(milliseconds=1)
    if end is None:
        return first_id_at(dt.datetime.now(dt.UTC), -week)
    return uuid.UUID(int=max(0, (end.int >> 80) - week) << 80)


def first_id_at(moment: dt.datetime, offset: int) -> uuid.UUID:
    """Return the lowest UUID of version 7 at a time (https://www.rfc-editor.org/rfc/rfc9562#section-5.7).

    Args:
        moment: The time.
        offset: Milliseconds that are added to it.
    """
    milliseconds = (moment - _EPOCH) // dt.timedelta(milliseconds=1) + offset
    return uuid.UUID(int=max(0, milliseconds) << 80)
