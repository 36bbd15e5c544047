"""Filters for arrays, which tolerate missing values as Liquid's reference does, and `json`.

Unlike those of python-liquid, they never take 1 for `true` or 0 for `false`, and `uniq` takes linear time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec
from liquid import Environment
from liquid.exceptions import FilterArgumentError, FilterItemTypeError, ResourceLimitError
from liquid.filter import sequence_filter, with_environment
from liquid.undefined import is_undefined
from markupsafe import Markup

from .filter_limits import Filter
from .limits import MAX_OUTPUT
from .values import is_missing, limited, member, number_of, same, text_of

__all__ = ["FILTERS"]

MAX_INDENT = 8
"""Maximum indent of `json`, in spaces."""
_JSON = "the result of `json`"


def as_json(value: Any, indent: Any = None) -> str:
    """Return a value as JSON, on one line or indented.

    The length is checked while encoding: `concat` can repeat large values, and deeply nested data become very
    long when indented.
    """
    if is_missing(indent):
        if isinstance(value, list):
            return f"[{', '.join(limited(map(_encode, value), _JSON))}]"
        return _encode(value)
    if indent not in range(MAX_INDENT + 1):
        raise FilterArgumentError(f"json: the indent must be from 0 to {MAX_INDENT}", token=None)
    pieces = json.JSONEncoder(indent=indent, default=_plain).iterencode(value)
    return "".join(limited(pieces, _JSON))


def _encode(value: Any) -> str:
    return json.dumps(value, default=_plain)


def _plain(value: object) -> str | None:
    return None if is_undefined(value) else text_of(value)


@sequence_filter
def compact(sequence: Iterable[Any], key: Any = None) -> list[Any]:
    """Return the items that are not nil, or whose property is not."""
    return [item for item in sequence if not is_missing(_keyed(item, key))]


@with_environment
@sequence_filter
def join(sequence: Iterable[Any], separator: Any = " ", *, environment: Environment) -> str:
    """Return the items as one text."""
    between = text_of(separator)
    if environment.autoescape and between == " ":
        between = Markup(" ")
    texts = list(limited(map(text_of, sequence)))
    if len(texts) * len(between) > MAX_OUTPUT:
        raise ResourceLimitError("the result of `join` is too long", token=None)
    return between.join(texts)


@sequence_filter
def map_(sequence: Iterable[Any], key: Any) -> list[Any]:
    """Return a property of each item, nil where it is missing."""
    return [member(item, text_of(key)) for item in sequence]


@sequence_filter
def sort(sequence: Iterable[Any], key: Any = None) -> list[Any]:
    """Return the items in ascending order, those without a value last."""
    try:
        return sorted(sequence, key=lambda item: _order(_keyed(item, key)))
    except TypeError as error:
        raise FilterArgumentError("sort: the values are of different types", token=None) from error


def _order(value: Any) -> tuple[bool, bool, Any]:
    """Return a key to sort by: numbers or texts, then booleans, then missing values."""
    missing = is_missing(value)
    return missing, isinstance(value, bool), None if missing else value


@sequence_filter
def sort_natural(sequence: Iterable[Any], key: Any = None) -> list[Any]:
    """Return the items in ascending order of their text, regardless of case, those without a value last."""
    items = list(sequence)
    values = [_keyed(item, key) for item in items]
    texts = [text.lower() for text in limited(map(text_of, values))]
    order = sorted(range(len(items)), key=lambda number: (is_missing(values[number]), texts[number]))
    return [items[number] for number in order]


@sequence_filter
def total(sequence: Iterable[Any], key: Any = None) -> int | float:
    """Return the sum of the numbers, or of a property of the items."""
    result = sum(number_of(item if is_missing(key) else member(item, key)) for item in sequence)
    return result if isinstance(result, int) else float(result)


@sequence_filter
def uniq(sequence: Iterable[Any], key: Any = None) -> list[Any]:
    """Return the items without duplicates."""
    kept: dict[object, Any] = {}
    size = 0
    for item in sequence:
        identity = _identity(_keyed(item, key))
        size += len(identity) if isinstance(identity, bytes) else 0
        if size > MAX_OUTPUT:
            raise ResourceLimitError("the items of `uniq` are too long", token=None)
        kept.setdefault(identity, item)
    return list(kept.values())


def _identity(value: object) -> object:
    """Return a hashable key that is equal for equal values."""
    if isinstance(value, list | tuple | dict):
        return msgspec.json.encode(value, order="sorted", enc_hook=str)
    return isinstance(value, bool), value


def _keyed(item: Any, key: Any) -> Any:
    """Return the item itself, or its property if a key is given."""
    return item if is_missing(key) else member(item, text_of(key))


@sequence_filter
def where(sequence: Iterable[Any], key: Any, value: Any = None) -> list[Any]:
    """Return the items that have the property, with this value if one is given."""
    return [item for item in sequence if _matches(item, key, value)]


@sequence_filter
def reject(sequence: Iterable[Any], key: Any, value: Any = None) -> list[Any]:
    """Return the items that do not have the property, or have it with another value."""
    return [] if is_missing(key) else [item for item in sequence if not _matches(item, key, value)]


@sequence_filter
def find(sequence: Iterable[Any], key: Any, value: Any = None) -> Any:
    """Return the first item that has the property, with this value if one is given."""
    return next((item for item in sequence if _matches(item, key, value)), None)


@sequence_filter
def find_index(sequence: Iterable[Any], key: Any, value: Any = None) -> int | None:
    """Return the position of the first item that has the property, with this value if one is given."""
    return next((number for number, item in enumerate(sequence) if _matches(item, key, value)), None)


@sequence_filter
def has(sequence: Iterable[Any], key: Any, value: Any = None) -> bool:
    """Return whether an item has the property, with this value if one is given."""
    return any(_matches(item, key, value) for item in sequence)


def _matches(item: Any, key: Any, value: Any) -> bool:
    if item is None:  # in the reference, such an array has no result
        raise FilterItemTypeError("an item of the array is nil", token=None)
    found = member(item, key)
    if is_missing(value):
        return found is not None and found is not False
    return same(found, value)


FILTERS: dict[str, Filter] = {
    "compact": compact,
    "find": find,
    "find_index": find_index,
    "has": has,
    "join": join,
    "json": as_json,
    "map": map_,
    "reject": reject,
    "sort": sort,
    "sort_natural": sort_natural,
    "sum": total,
    "uniq": uniq,
    "where": where,
}
