"""The statements that accept triggers, and their arguments."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple, Self

import msgspec

from ...domain.campaign import Channel
from ...domain.placement import ValidTrigger
from ...domain.trigger import Trigger
from ..sql import Statement, load

__all__ = [
    "COLUMNS",
    "SQL",
    "Columns",
    "columns_of",
    "joined_key_arguments",
    "key_arguments",
    "place_arguments",
    "trigger_arguments",
]

_SET_BY_THE_DATABASE = "accepted_at"
_TYPES: Mapping[object, str] = {
    uuid.UUID: "uuid",
    uuid.UUID | None: "uuid",
    bool: "bool",
    int: "int8",
    str: "text",
    Channel: "text",
    dt.datetime | None: "timestamptz",
}
_COLUMN_TYPES = {
    field.name: _TYPES[field.type]
    for field in msgspec.structs.fields(Trigger)
    if field.name != _SET_BY_THE_DATABASE
}
COLUMNS = tuple(_COLUMN_TYPES)
"""The columns of the table `trigger` that are written: each field of a Trigger is one, under its own name."""
_USUALLY_DEFAULT = {"test", "retain"}


class Columns(NamedTuple):
    """The columns that a commit writes, and the statements that write them."""

    names: tuple[str, ...]
    values: Callable[[Trigger], tuple[object, ...]]
    """Returns the values of a trigger in the order of `names`."""
    sql: Mapping[str, Statement]

    @classmethod
    def of(cls, types: Mapping[str, str]) -> Self:
        """Return columns by their names and types; `retain` is also written to the queue."""
        names = ", ".join(types)
        arrays = ", ".join(f":{name}::{kind}[]" for name, kind in types.items())
        given = f"unnest({arrays}) AS given_trigger ({names})"
        sql = load(
            "accept/statements.sql",
            trigger_columns=names,
            given_triggers=given,
            queue_retain=", retain" if "retain" in types else "",
            given_retain=", :retain::text[]" if "retain" in types else "",
        )
        return cls(tuple(types), attrgetter(*types), sql)


_ALL = Columns.of(_COLUMN_TYPES)
# A column costs 3 µs of CPU for each trigger, half of it in the database.
_USUAL = Columns.of({name: kind for name, kind in _COLUMN_TYPES.items() if name not in _USUALLY_DEFAULT})
SQL = _USUAL.sql


def columns_of(entries: Sequence[ValidTrigger]) -> Columns:
    """Return the columns to write: without `test` and `retain`, unless an entry has one of them."""
    return _ALL if any(entry.trigger.test or entry.trigger.retain for entry in entries) else _USUAL


def trigger_arguments(entries: Sequence[ValidTrigger], columns: Columns) -> dict[str, object]:
    """Return an array for each of the columns, under the column's name."""
    arrays = zip(*[columns.values(entry.trigger) for entry in entries], strict=True)
    return dict(zip(columns.names, arrays, strict=True))


def place_arguments(entries: Sequence[ValidTrigger]) -> dict[str, object]:
    """Return `id`, `lanes`, `due_at` and `expires_at`: where and when each trigger is queued."""
    return {
        "id": [trigger.id for trigger, _, _ in entries],
        "lanes": [place.lane for _, place, _ in entries],
        "due_at": [place.due_at for _, place, _ in entries],
        "expires_at": [place.expires_at for _, place, _ in entries],
    }


def key_arguments(entries: Sequence[ValidTrigger]) -> dict[str, object]:
    """Return `keys` and `contents` for `insert_with_keys`; entries without a key have None."""
    return {
        "keys": [key and key.key for _, _, key in entries],
        "contents": [key and key.content for _, _, key in entries],
    }


def joined_key_arguments(entries: Sequence[ValidTrigger]) -> dict[str, object]:
    """Return `ids`, `project_ids`, `keys` and `contents` of entries with keys for `claim_keys`."""
    rows = [
        (str(trigger.id), str(trigger.project_id), key.key, key.content.hex())
        for trigger, _, key in entries
        if key
    ]
    columns = [" ".join(column) for column in zip(*rows, strict=True)]
    return dict(zip(("ids", "project_ids", "keys", "contents"), columns, strict=True))
