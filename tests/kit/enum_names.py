"""The names of enum values, where JSON of the REST APIs has words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from generate.schemas import word_of

__all__ = ["enum_names", "with_names"]


def enum_names(files: Iterable[Any]) -> dict[tuple[str, str], str]:
    """Return the names of enum values by field and word, for the descriptors of proto files."""
    return {
        (field.name, word_of(value)): value.name
        for file in files
        for message in file.message_types_by_name.values()
        for field in message.fields
        for value in (field.enum_type.values if field.enum_type else ())
    }


def with_names(value: Any, names: Mapping[tuple[str, str], str]) -> Any:
    """Return JSON with the names of enum values instead of their words, as the protobuf library reads it."""
    if isinstance(value, list):
        return [with_names(one, names) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: names.get((name, one), one) if isinstance(one, str) else with_names(one, names)
        for name, one in value.items()
    }
