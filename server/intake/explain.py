"""The wording of every violation of a request: what was found, and what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import Any

import protovalidate

from ..channels import BY_ADDRESS_FIELD, CHANNELS
from ..domain.campaign import Campaign, Channel
from ..domain.project import name_problem
from ..domain.wording import at_position, quoted
from ..errors import Violation
from . import strict_json
from .contract import BODY_FIELDS, USER_FIELDS, Kind

__all__ = [
    "EMPTY_KEY",
    "PAUSED",
    "broken_rule",
    "locale_problem",
    "mismatch",
    "required",
    "too_many_items",
    "type_problem",
    "unknown_field",
    "wrong_type",
]

PAUSED = Violation("campaign_id", "names a campaign that is paused", "CAMPAIGN_STATE")
EMPTY_KEY = Violation("request_id", "is empty; set a unique key for this item, or omit it", "INVALID_FORMAT")
_HEADER = "Idempotency-Key"  # as people write it
_PATHS = [
    *(name for name, field in BODY_FIELDS.items() if field.kind is not Kind.USER),
    "user",
    *(f"user.{name}" for name in USER_FIELDS),
]
_PHP = "in PHP, an empty object is (object) []"
# Names that other APIs and generated clients use, and fields that were put in the wrong object.
_SIMILAR = {path.rpartition(".")[2].replace("_", ""): path for path in _PATHS} | {"events": "event"}


def required(field: str) -> Violation:
    """Return the violation of a field that is missing or empty, which typed messages cannot distinguish."""
    return Violation(field, "is required, but missing or empty", "REQUIRED")


def wrong_type(field: str, expected: str, found: object) -> Violation:
    """Return the violation of a field whose JSON value has another type."""
    return Violation(field, type_problem(expected, found), "WRONG_TYPE")


def type_problem(expected: str, found: object) -> str:
    """Return the problem of a JSON value that has another type than expected, such as "an object"."""
    if found == [] and expected.endswith("object"):
        return f"must be {expected}, found an empty array; {_PHP}"
    return f"must be {expected}, found {strict_json.type_name(found)}"


def unknown_field(field: str) -> Violation:
    """Return the violation of a field that no trigger has, with the field that was probably meant."""
    if field == "request_id":
        return Violation(
            field, f"is not a field of this call: send it as the header {_HEADER}", "UNKNOWN_FIELD"
        )
    similar = _SIMILAR.get(field.rpartition(".")[2].replace("_", "").replace("-", "").casefold())
    if similar:
        hint = f"; did you mean {similar}?"
    else:
        hint = "; put custom fields under user.data" if field.startswith("user.") else ""
    return Violation(field, f"is not a field of this call{hint}", "UNKNOWN_FIELD")


def mismatch(campaign: Campaign, given: Channel) -> Violation:
    """Return the violation of a call whose address is for another channel than the campaign's."""
    needed = f"user.{CHANNELS[campaign.channel].address.field}"
    found = f"user.{CHANNELS[given].address.field}"
    description = f"is required: campaign {campaign.id} sends {campaign.channel}, but {found} was given"
    return Violation(needed, description, "CHANNEL_MISMATCH")


def broken_rule(found: protovalidate.Violation) -> Violation:
    """Convert a violation of the rules in the protos."""
    proto = found.proto
    field = ".".join(map(_name, proto.field.elements)) if proto.field else ""
    kind, _, rule = proto.rule_id.rpartition(".")
    if rule == "required":
        return required(field)
    if rule in _LENGTHS:
        return Violation(field, _LENGTHS[rule](found.field_value, found.rule_value), "OUT_OF_RANGE")
    if proto.rule_id == _NOT_A_CAMPAIGN_ID:
        return Violation(field, f"{proto.message}, found {quoted(found.field_value)}", "WRONG_TYPE")
    if kind in {"int32", "int64"}:
        return Violation(field, f"is {found.field_value}, {proto.message}", "OUT_OF_RANGE")
    name = field.rpartition(".")[2].partition("[")[0]
    describe = _PATTERNS.get(name) if rule == "pattern" else None
    return Violation(field, describe(found.field_value) if describe else proto.message, "INVALID_FORMAT")


def too_many_items(items: Sized, most: int) -> str:
    """Return the problem of a list that has more items than it may."""
    return f"has {len(items)} items, at most {most} are allowed"


def locale_problem(tag: str) -> str:
    """Return the problem of a locale that is not a language tag."""
    return f"is not a BCP 47 language tag, found {quoted(tag)}; such as en or pt-BR"


def _name(element: Any) -> str:
    """Return one step of a field's path, with the index of a repeated value."""
    index = element.subscript
    return f"{element.field_name}[{index.value}]" if index else str(element.field_name)


def _control_problem(text: str) -> str:
    index = next((index for index, char in enumerate(text) if _is_control(char)), 0)
    return f"contains {at_position(text, index)}, control characters are not allowed"


def _is_control(char: str) -> bool:
    return char < " " or "\x7f" <= char <= "\x9f" or char in "\u2028\u2029"


_NOT_A_CAMPAIGN_ID = "campaign_id.integer"  # has the same wording as in trigger calls
_LENGTHS: dict[str, Callable[[Any, Any], str]] = {
    "max_len": lambda text, most: f"has {len(text)} characters, at most {most} are allowed",
    "min_len": lambda text, least: f"has {len(text)} characters, at least {least} are required",
    "min_items": lambda items, least: f"has {len(items)} items, at least {least} is required",
    "max_items": too_many_items,
    "max_bytes": lambda text, most: f"has {len(text.encode())} bytes, at most {most} are allowed",
}
# Descriptions, because a regular expression would not help a person.
_PATTERNS: dict[str, Callable[[str], str]] = {
    "external_id": _control_problem,
    "display_name": _control_problem,
    "project": lambda name: f"{name_problem(name)}, found {quoted(name)}",
    "request_id": lambda text: f"must be printable ASCII characters without spaces, found {quoted(text)}",
    "locale": locale_problem,
    "retain": lambda text: f"must be none or absent, found {quoted(text)}",
    "providers": lambda name: (
        "must begin with a lower-case letter, followed by lower-case letters, digits and `-`, "
        f"found {quoted(name)}"
    ),
    **dict.fromkeys(
        ("window_opens", "window_closes"),
        lambda text: f"must be a time from 00:00 to 23:59, such as 08:00, found {quoted(text)}",
    ),
} | {
    field: spec.address.pattern_problem
    for field, spec in BY_ADDRESS_FIELD.items()
    if spec.address.pattern_problem
}
