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
from .rest_body import MAX_ID, Body, parse_any, wrong_type
from .rules import required

__all__ = ["Item", "parse_item", "split"]

_FIELD = "triggers"
_CAMPAIGN, _KEY = "campaign_id", "request_id"
_MORE = (_CAMPAIGN, _KEY)
_ITEMS = 3  # the level at which items stand: the body, the array, an item
# Nothing is taken that is nested so deep, wherever it stands in an item.
_NOT_READ = _ITEMS + strict_json.MAX_DEPTH + 3
_START = re.compile(rb'\{\s*"triggers"\s*:')
_WHITESPACE = b" \t\r\n"


class _Items(msgspec.Struct, frozen=True):
    triggers: list[msgspec.Raw]


_array_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_items_decoder = msgspec.json.Decoder(_Items)


class Item(msgspec.Struct, frozen=True):
    """One item of a batch: its campaign, or what is wrong with that, its key, and the rest."""

    campaign_id: int | Violation
    body: Body
    request_id: str = ""


def split(data: bytes) -> list[msgspec.Raw]:
    """Return the items of a batch, of which each is a JSON value.

    Raises:
        InvalidRequest: the batch as such is wrong.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        malformed = f"is not UTF-8: byte {error.start} is not part of a character"
        raise InvalidRequest([Violation("", malformed, "MALFORMED_JSON")]) from error
    return _split_plain(data) or _split_any(text)


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
    try:
        return strict_json.forgiving(strict_json.blank_below(text, _NOT_READ), _items)[1]
    except strict_json.JsonError as error:
        raise InvalidRequest([Violation("", str(error), error.reason)]) from error


def _items(text: str) -> list[msgspec.Raw]:
    outer = strict_json.decode(strict_json.blank_below(text, _ITEMS), depth=_ITEMS)
    violations = _outer_violations(outer)
    if violations:
        raise InvalidRequest(violations)
    try:
        return _items_decoder.decode(text).triggers
    except msgspec.DecodeError as error:
        strict_json.decode(text, depth=_NOT_READ)  # says where
        raise strict_json.JsonError(f"is not valid JSON: {error}") from error


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
        return wrong_type(_CAMPAIGN, "an integer", found)
    if not 1 <= found <= MAX_ID:
        return Violation(_CAMPAIGN, f"must be an integer from 1 to {MAX_ID}", "WRONG_TYPE")
    return found


def _request_id(body: Body) -> tuple[Body, str]:
    """Return the item's key, and its body with what is wrong with the key's type."""
    found = body.more.get(_KEY, "")
    if isinstance(found, str):
        return body, found
    wrong = wrong_type(_KEY, "a string", found)
    return msgspec.structs.replace(body, violations=(*body.violations, wrong)), ""
