"""What a recorded change changed, field by field."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .words import label_of

__all__ = ["FieldChange", "field_changes"]

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d.*(Z|[+-]\d\d:\d\d)")
_MOST = 300
"""Characters shown of a value; the JSON has all of them."""


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field with another value than before.

    Attributes:
        label: What people call the field.
        old: The value before, as text; empty if it had none.
        new: The value after, as text; empty if it has none.
    """

    label: str
    old: str
    new: str


def field_changes(before: str, after: str) -> Sequence[FieldChange]:
    """Return what differs, in the order of the fields.

    Args:
        before: The values before, a JSON object; empty if there were none.
        after: The values after, a JSON object; empty if there are none.
    """
    old, new = _values(before), _values(after)
    return [
        FieldChange(label_of(name), old.get(name, ""), new.get(name, ""))
        for name in {**old, **new}
        if old.get(name, "") != new.get(name, "")
    ]


def _values(text: str) -> Mapping[str, str]:
    found = json.loads(text) if text else {}
    return {name: _text(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _text(value: object) -> str:
    """Return a value as people read it; empty if it says nothing."""
    if value is None or value in ("", [], {}):
        return ""
    if isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, list) and not any(isinstance(one, list | dict) for one in value):
        text = ", ".join(map(str, value))
    elif isinstance(value, str):
        text = _time(value) or value
    else:
        text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MOST else f"{text[:_MOST]}…"


def _time(text: str) -> str:
    """Return a time to the minute in UTC; empty if the text is not a time."""
    if not _TIME.fullmatch(text):
        return ""
    try:
        return f"{dt.datetime.fromisoformat(text).astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError):
        return ""
