"""The statements that accept triggers, and their arguments."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ...domain.placement import ValidTrigger
from ...domain.trigger import Trigger
from ..sql import load

__all__ = ["COLUMNS", "SQL", "joined_key_arguments", "key_arguments", "place_arguments", "trigger_arguments"]

_SET_BY_THE_DATABASE = "accepted_at"
COLUMNS = tuple(name for name in Trigger.__struct_fields__ if name != _SET_BY_THE_DATABASE)
"""The columns of the table `trigger` that are written: each field of a Trigger is one, under its own name."""
SQL = load("accept/statements.sql", trigger_columns=", ".join(COLUMNS))


def trigger_arguments(entries: Sequence[ValidTrigger]) -> dict[str, object]:
    """Return `triggers` for the statements that insert: the triggers as a JSON array."""
    return {"triggers": msgspec.json.encode([entry.trigger for entry in entries]).decode()}


def place_arguments(entries: Sequence[ValidTrigger]) -> dict[str, object]:
    """Return `ids`, `lanes`, `due_at` and `expires_at`: where and when each trigger is queued."""
    return {
        "ids": [trigger.id for trigger, _, _ in entries],
        "lanes": [place.lane for _, place, _ in entries],
        "due_at": [place.due_at for _, place, _ in entries],
        "expires_at": [place.expires_at for _, place, _ in entries],
    }


def key_arguments(entries: Sequence[ValidTrigger]) -> dict[str, object]:
    """Return `project_ids`, `keys` and `contents` for `insert_with_keys`; entries without a key have None."""
    return {
        "project_ids": [trigger.project_id for trigger, _, _ in entries],
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
