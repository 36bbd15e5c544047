"""Words for the enum values of the API, as REST spells them."""

from __future__ import annotations

from typing import Any

__all__ = ["word_of"]


def word_of(message: Any, field: str) -> str:
    """Return the word for the enum value in a field, such as `dead`."""
    enum = message.DESCRIPTOR.fields_by_name[field].enum_type
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    known = enum.values_by_number.get(getattr(message, field))
    return str(known.name.removeprefix(prefix).lower()) if known else "unknown"
