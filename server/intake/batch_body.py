"""The JSON body of a REST batch → its items, each as strict as the body of a call for it alone.

What is wrong with the batch as such refuses all of it. An item is refused by itself; but the whole must be
JSON, so that nobody guesses where one item ends.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from buf.validate import validate_pb2
from clarion.v1 import trigger_pb2 as pb

from ..errors import InvalidRequest, Violation
from . import strict_json
from .body import MAX_ID, Body, parse_any, wrong_type
from .offload import run_in_thread
from .rules import required

__all__ = ["Item", "check_count", "parse_item", "split"]

_FIELD = "triggers"
_CAMPAIGN, _KEY = "campaign_id", "request_id"
_MORE = (_CAMPAIGN, _KEY)
_OUTER = 2  # the levels around the items: the body, the array
# Nothing is taken that is nested so deep, wherever it stands in an item.
_NOT_READ = _OUTER + 1 + strict_json.MAX_DEPTH + 3
# More commas than in any batch of everyday items. Such a body is read apart, and its trailing commas are not
# forgiven: to look for them, or for the line of a mistake, would stop all other calls for too long.
_CROWDED = 200_000
_RULES: Any = validate_pb2.field  # its .pyi file predates typed extensions
_MAX_TRIGGERS: int = (
    pb.BatchTriggerRequest.DESCRIPTOR.fields_by_name[_FIELD]
    .GetOptions()
    .Extensions[_RULES]
    .repeated.max_items
)
"""As the protos say it."""
_START = re.compile(rb'\{\s*"triggers"\s*:')
_WHITESPACE = b" \t\r\n"


_EMPTY_KEY = Violation(_KEY, "is empty: give the item a key of its own, or leave it out", "INVALID_FORMAT")


class _Items(msgspec.Struct, frozen=True):
    triggers: list[msgspec.Raw]


_array_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_items_decoder = msgspec.json.Decoder(_Items)


class Item(msgspec.Struct, frozen=True):
    """One item of a batch: its campaign, or what is wrong with that, its key, and the rest."""

    campaign_id: int | Violation
    body: Body
    request_id: str = ""


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
        found = _decoded(text)
    except msgspec.DecodeError as error:
        malformed = error
    check_count(len(found))  # before what takes longer
    violations = _outer_violations(strict_json.decode(strict_json.blank_below(text, _OUTER), depth=_OUTER))
    if violations:
        raise InvalidRequest(violations)
    if malformed:
        raise _at_its_place(text, malformed) from malformed
    return found


def _decoded(text: str) -> list[msgspec.Raw]:
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
    if count > _MAX_TRIGGERS:
        description = f"has {count} items, at most {_MAX_TRIGGERS} are taken"
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


def parse_item(data: bytes) -> Item:
    """Decode an item strictly. Never raises: what is wrong is in its parts."""
    body = parse_any(data, _MORE)
    return Item(_campaign_id(body), *_request_id(body))


def _campaign_id(body: Body) -> int | Violation:
    if _CAMPAIGN not in body.more:
        return required(_CAMPAIGN)
    found = body.more[_CAMPAIGN]
    if type(found) is not int:
        without = " without quotes" if isinstance(found, str) else ""
        return wrong_type(_CAMPAIGN, f"an integer{without}", found)
    if not 1 <= found <= MAX_ID:
        return Violation(_CAMPAIGN, f"must be an integer from 1 to {MAX_ID}", "WRONG_TYPE")
    return found


def _request_id(body: Body) -> tuple[Body, str]:
    """Return the item's key, and its body with what is wrong with the key."""
    found = body.more.get(_KEY)
    if isinstance(found, str) and found:
        return body, found
    if _KEY not in body.more:
        return body, ""
    wrong = _EMPTY_KEY if found == "" else wrong_type(_KEY, "a string", found)
    return msgspec.structs.replace(body, violations=(*body.violations, wrong)), ""
