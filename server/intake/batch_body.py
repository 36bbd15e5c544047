"""The JSON body of a REST batch, split into its items.

An error in the batch itself refuses all of it. An invalid item is refused alone; but the whole body must be
JSON, because otherwise it would be unclear where an item ends.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ..errors import InvalidRequest, Violation
from . import strict_json
from .contract import MAX_TRIGGERS
from .explain import required, wrong_type
from .offload import run_in_thread

__all__ = ["check_count", "split"]

_FIELD = "triggers"
_OUTER = 2  # levels around the items: the body and the array
# No valid item is nested this deeply in any of its fields.
_NOT_READ = _OUTER + 1 + strict_json.MAX_DEPTH + 3
# More commas than any batch of usual items has. Such a body is split in a thread, and its trailing commas are
# not accepted: looking for them, or for the line of a syntax error, would block other calls for too long.
_CROWDED = 200_000
_START = re.compile(rb'\{\s*"triggers"\s*:')
_WHITESPACE = b" \t\r\n"


class _Items(msgspec.Struct, frozen=True):
    triggers: list[msgspec.Raw]


_array_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_items_decoder = msgspec.json.Decoder(_Items)


async def split(data: bytes) -> list[msgspec.Raw]:
    """Return the items of a batch, each a JSON value.

    Raises:
        InvalidRequest: The batch itself is wrong.
    """
    try:
        text = strict_json.text_of(data)
    except strict_json.JsonError as error:
        raise InvalidRequest([Violation("", str(error), error.reason)]) from error
    plain = _split_plain(data) if data.count(b",") <= _CROWDED else None
    return await run_in_thread(_split_any, text) if plain is None else plain


def _split_plain(data: bytes) -> list[msgspec.Raw] | None:
    """Split a body that has no other field than its items; return None for any other."""
    whole = data.strip(_WHITESPACE)
    start = _START.match(whole)
    if not (start and whole.endswith(b"}")):
        return None
    try:
        return _array_decoder.decode(memoryview(whole)[start.end() : -1])
    except (msgspec.DecodeError, RecursionError):
        return None


def _split_any(text: str) -> list[msgspec.Raw]:
    """Split any body. It may take long, but no single step does: other threads wait during each."""
    try:
        return _split_repaired(text)
    except strict_json.JsonError as error:
        raise InvalidRequest([Violation("", str(error), error.reason)]) from error


def _split_repaired(text: str) -> list[msgspec.Raw]:
    """Split a body without its trailing commas. Errors have positions in the original body."""
    repaired = text if text.count(",") > _CROWDED else strict_json.without_trailing_commas(text)
    try:
        return _items(repaired)
    except strict_json.JsonError:
        if repaired == text:
            raise
    return _items(text)


def _items(text: str) -> list[msgspec.Raw]:
    malformed: msgspec.DecodeError | None = None
    found: list[msgspec.Raw] = []
    try:
        found = _decode(text)
    except msgspec.DecodeError as error:
        malformed = error
    check_count(len(found))  # before the slower checks
    violations = _outer_violations(strict_json.decode(strict_json.blank_below(text, _OUTER), depth=_OUTER))
    if violations:
        raise InvalidRequest(violations)
    if malformed:
        raise _with_position(text, malformed) from malformed
    return found


def _decode(text: str) -> list[msgspec.Raw]:
    try:
        return _items_decoder.decode(text).triggers
    except RecursionError:
        return _items_decoder.decode(strict_json.blank_below(text, _NOT_READ)).triggers


def _with_position(text: str, error: msgspec.DecodeError) -> strict_json.JsonError:
    """Return the error of items that are not JSON; with its position, unless there are too many items."""
    if text.count(",") <= _CROWDED:
        try:
            strict_json.decode(strict_json.blank_below(text, _NOT_READ), depth=_NOT_READ)
        except strict_json.JsonError as positioned:
            return positioned
    return strict_json.JsonError(f"is not valid JSON: {error}")


def check_count(count: int) -> None:
    """Check the number of items.

    Raises:
        InvalidRequest: There are more than a batch may have.
    """
    if count > MAX_TRIGGERS:
        description = f"has {count} items, at most {MAX_TRIGGERS} are allowed"
        raise InvalidRequest([Violation(_FIELD, description, "OUT_OF_RANGE")])


def _outer_violations(outer: Any) -> list[Violation]:
    if not isinstance(outer, dict):
        return [wrong_type("", "a JSON object", outer)]
    violations = [
        Violation(name, f"is not a field of this call, which has only {_FIELD}", "UNKNOWN_FIELD")
        for name in outer
        if name != _FIELD
    ]
    if outer.get(_FIELD) is None:
        violations.append(required(_FIELD))
    elif not isinstance(outer[_FIELD], list):
        violations.append(wrong_type(_FIELD, "an array", outer[_FIELD]))
    return violations
