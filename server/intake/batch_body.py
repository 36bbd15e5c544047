"""The JSON body of a REST batch → its items, each as strict as the body of a call for it alone.

What is wrong with the batch as such refuses all of it. An item is refused by itself; but the whole must be
JSON, so that nobody guesses where one item ends.
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
_OUTER = 2  # the levels around the items: the body, the array
# Nothing is taken that is nested so deep, wherever it stands in an item.
_NOT_READ = _OUTER + 1 + strict_json.MAX_DEPTH + 3
# More commas than in any batch of everyday items. Such a body is read apart, and its trailing commas are not
# forgiven: to look for them, or for the line of a mistake, would stop all other calls for too long.
_CROWDED = 200_000
_START = re.compile(rb'\{\s*"triggers"\s*:')
_WHITESPACE = b" \t\r\n"


class _Items(msgspec.Struct, frozen=True):
    triggers: list[msgspec.Raw]


_array_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_items_decoder = msgspec.json.Decoder(_Items)


async def split(data: bytes) -> list[msgspec.Raw]:
    """Return the items of a batch, of which each is a JSON value.

    Raises:
        InvalidRequest: the batch as such is wrong.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        malformed = f"is not UTF-8: byte {error.start} is not part of a character"
        raise InvalidRequest([Violation("", malformed, "MALFORMED_JSON")]) from error
    plain = _split_plain(data) if data.count(b",") <= _CROWDED else None
    return await run_in_thread(_split_any, text) if plain is None else plain


def _split_plain(data: bytes) -> list[msgspec.Raw] | None:
    """Split a body that has nothing beside its items; None for any other, or one that is no JSON."""
    whole = data.strip(_WHITESPACE)
    start = _START.match(whole)
    if not (start and whole.endswith(b"}")):
        return None
    try:
        return _array_decoder.decode(memoryview(whole)[start.end() : -1])
    except (msgspec.DecodeError, RecursionError):
        return None


def _split_any(text: str) -> list[msgspec.Raw]:
    """Split any body. It can take long, but no single step of it does: others wait for each of those."""
    try:
        return _mended(text)
    except strict_json.JsonError as error:
        raise InvalidRequest([Violation("", str(error), error.reason)]) from error


def _mended(text: str) -> list[msgspec.Raw]:
    """Split a body without its trailing commas; what is wrong is said of the body as it came."""
    mended = text if text.count(",") > _CROWDED else strict_json.without_trailing_commas(text)
    try:
        return _items(mended)
    except strict_json.JsonError:
        if mended == text:
            raise
    return _items(text)


def _items(text: str) -> list[msgspec.Raw]:
    malformed: msgspec.DecodeError | None = None
    found: list[msgspec.Raw] = []
    try:
        found = _decode(text)
    except msgspec.DecodeError as error:
        malformed = error
    check_count(len(found))  # before what takes longer
    violations = _outer_violations(strict_json.decode(strict_json.blank_below(text, _OUTER), depth=_OUTER))
    if violations:
        raise InvalidRequest(violations)
    if malformed:
        raise _at_its_place(text, malformed) from malformed
    return found


def _decode(text: str) -> list[msgspec.Raw]:
    try:
        return _items_decoder.decode(text).triggers
    except RecursionError:
        return _items_decoder.decode(strict_json.blank_below(text, _NOT_READ)).triggers


def _at_its_place(text: str, error: msgspec.DecodeError) -> strict_json.JsonError:
    """Return what is wrong with items that are no JSON; and at which line, if there are not too many."""
    if text.count(",") <= _CROWDED:
        try:
            strict_json.decode(strict_json.blank_below(text, _NOT_READ), depth=_NOT_READ)
        except strict_json.JsonError as placed:
            return placed
    return strict_json.JsonError(f"is not valid JSON: {error}")


def check_count(count: int) -> None:
    """Refuse too many items.

    Raises:
        InvalidRequest: more than a batch may have.
    """
    if count > MAX_TRIGGERS:
        description = f"has {count} items, at most {MAX_TRIGGERS} are taken"
        raise InvalidRequest([Violation(_FIELD, description, "OUT_OF_RANGE")])


def _outer_violations(outer: Any) -> list[Violation]:
    if not isinstance(outer, dict):
        found = strict_json.type_name(outer)
        return [Violation("", f"must be a JSON object, found {found}", "WRONG_TYPE")]
    violations = [
        Violation(name, f"is not a field of this call, which has only {_FIELD}", "UNKNOWN_FIELD")
        for name in outer
        if name != _FIELD
    ]
    if _FIELD not in outer:
        violations.append(required(_FIELD))
    elif not isinstance(outer[_FIELD], list):
        violations.append(wrong_type(_FIELD, "an array", outer[_FIELD]))
    return violations
