"""Replacements for Liquid filters whose cost would be unbounded for some data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from liquid.exceptions import FilterArgumentError, ResourceLimitError
from liquid.filter import liquid_filter, sequence_filter
from liquid.undefined import is_undefined

from .limits import MAX_OUTPUT, Filter

__all__ = ["FILTERS"]

MAX_INDENT = 8
"""Maximum indent of `json`, in spaces."""


@liquid_filter
def as_json(value: Any, indent: Any = None) -> str:
    """Return a value as JSON, on one line or indented.

    The length of indented JSON is checked while encoding, because deeply nested data can become very long.
    """
    if indent is None or is_undefined(indent):
        return json.dumps(value, default=_plain)
    if indent not in range(MAX_INDENT + 1):
        raise FilterArgumentError(f"json: the indent must be from 0 to {MAX_INDENT}", token=None)
    return "".join(_limited(json.JSONEncoder(indent=indent, default=_plain).iterencode(value)))


def _limited(pieces: Iterable[str]) -> Iterator[str]:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > MAX_OUTPUT:
            raise ResourceLimitError("the result of `json` is too long", token=None)
        yield piece


def _plain(value: object) -> str | None:
    return None if is_undefined(value) else str(value)


@sequence_filter
def uniq(sequence: Iterable[Any], key: Any = None) -> list[Any]:
    """Return the items without duplicates, in linear time; Liquid's own filter takes quadratic time."""
    kept: dict[object, Any] = {}
    for item in sequence:
        kept.setdefault(_identity(item if key is None else _member(item, key)), item)
    return list(kept.values())


def _member(item: Any, key: Any) -> Any:
    try:
        return item[key]
    except LookupError:
        return None
    except TypeError as error:
        raise FilterArgumentError("uniq: an item of the array has no properties", token=None) from error


def _identity(value: object) -> object:
    """Return a hashable key that is equal for equal values."""
    if isinstance(value, list | tuple | dict):
        return msgspec.json.encode(value, order="sorted", enc_hook=str)
    return value


FILTERS: dict[str, Filter] = {"json": as_json, "uniq": uniq}
