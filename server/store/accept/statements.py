"""The statements that accept triggers, and their arguments."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from operator import attrgetter

import msgspec

from ...domain.campaign import Channel
from ...domain.placement import ValidTrigger
from ...domain.trigger import Trigger
from ..sql import load

__all__ = [
    "COLUMNS",
    "SQL",
    "column_values",
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
_NAMES = ", ".join(COLUMNS)
_ARRAYS = ", ".join(f":{name}::{kind}[]" for name, kind in _COLUMN_TYPES.items())
SQL = load(
    "accept/statements.sql",
    trigger_columns=_NAMES,
    given_triggers=f"unnest({_ARRAYS}) AS given_trigger ({_NAMES})",
)
column_values = attrgetter(*COLUMNS)
"""Return the values of a trigger in the order of `COLUMNS`."""


def trigger_arguments(entries: Sequence[ValidTrigger]) -> dict[str, object]:
    """Return an array for each of `COLUMNS`, under the column's name."""
    columns = zip(*[column_values(entry.trigger) for entry in entries], strict=True)
    return dict(zip(COLUMNS, columns, strict=True))


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
