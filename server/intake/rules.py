"""All rules of a typed trigger request, in one pass, so that one answer names every violation.

What a rule in the protos can say stands there (protovalidate). What it cannot say stands here: the time
zone's name, an address that can be delivered to, JSON inside a string. Here are also the words: what was
found, and what is expected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import protovalidate
from google.protobuf.message import Message

from ..channels import BY_ADDRESS_FIELD, CHANNELS
from ..domain.locale import normal_locale
from ..domain.wording import at_position, shown
from ..errors import InvalidRequest, Violation
from . import strict_json
from .timezones import timezone_problem
from .typed import TriggerRequest, channel_of

__all__ = ["check", "check_rules", "require_valid", "required"]

_READ_DEPTH = strict_json.MAX_DEPTH + 1


def check_rules(message: Message) -> list[Violation]:
    """Return what the rules in the protos say against a message, one violation a field."""
    told: dict[str, Violation] = {}
    for found in protovalidate.collect_violations(message):
        violation = _violation(found)
        if violation.field not in told or violation.reason == "OUT_OF_RANGE":  # a length says more
            told[violation.field] = violation
    return list(told.values())


def require_valid(message: Message) -> None:
    """Refuse a message that breaks the rules in the protos.

    Raises:
        InvalidRequest: all violations.
    """
    violations = check_rules(message)
    if violations:
        raise InvalidRequest(violations)


def check(request: TriggerRequest, *, event_parsed: bool = False) -> list[Violation]:
    """Return everything that is wrong with a typed request; what the protos refuse is not judged further.

    `event_parsed` says that REST has parsed `event` already.
    """
    violations = check_rules(request)
    named = {violation.field for violation in violations}
    return violations + [one for one in _check_values(request, named, event_parsed=event_parsed) if one]


def required(field: str) -> Violation:
    """Return the violation of a field that is missing; typed messages cannot tell that from empty."""
    return Violation(field, "is required, but missing or empty", "REQUIRED")


def _check_values(
    request: TriggerRequest, named: set[str], *, event_parsed: bool
) -> Iterator[Violation | None]:
    user = request.user
    address = CHANNELS[channel_of(request)].address
    if f"user.{address.field}" not in named:
        yield _judge(f"user.{address.field}", getattr(user, address.field), address.problem)
    if user.timezone and "user.timezone" not in named:
        yield _judge("user.timezone", user.timezone, timezone_problem, "UNKNOWN_VALUE")
    if user.locale and "user.locale" not in named:
        yield _judge("user.locale", user.locale, _locale_problem)
    if user.data and "user.data" not in named:
        yield _check_object("user.data", user.data)
    if request.event and not event_parsed and "event" not in named:
        yield _check_object("event", request.event)


def _judge(
    field: str, value: str, problem: Callable[[str], str | None], reason: str = "INVALID_FORMAT"
) -> Violation | None:
    description = problem(value) if value else None
    return Violation(field, description, reason) if description else None


def _locale_problem(tag: str) -> str | None:
    try:
        normal_locale(tag)
    except ValueError:
        return _locale_form_problem(tag)
    return None


def _check_object(field: str, text: str) -> Violation | None:
    """Check a JSON object that travels as text. How deep it is comes last, as in a REST body."""
    try:
        value = strict_json.decode(strict_json.blank_below(text, _READ_DEPTH), depth=_READ_DEPTH)
        if isinstance(value, dict):
            strict_json.check_depth(text)
            return None
    except strict_json.JsonError as error:
        return Violation(field, str(error), error.reason)
    return Violation(field, f"must be an object, found {strict_json.type_name(value)}", "WRONG_TYPE")


def _violation(found: protovalidate.Violation) -> Violation:
    proto = found.proto
    field = ".".join(map(_name, proto.field.elements)) if proto.field else ""
    kind, _, rule = proto.rule_id.rpartition(".")
    if rule == "required":
        return required(field)
    if rule in _LENGTHS:
        return Violation(field, _LENGTHS[rule](found.field_value, found.rule_value), "OUT_OF_RANGE")
    if proto.rule_id == _NO_CAMPAIGN_ID:
        return Violation(field, f"{proto.message}, found {shown(found.field_value)}", "WRONG_TYPE")
    if kind in {"int32", "int64"}:
        return Violation(field, f"is {found.field_value}, {proto.message}", "OUT_OF_RANGE")
    words = _FORMS.get(field.rpartition(".")[2]) if rule == "pattern" else None
    return Violation(field, words(found.field_value) if words else proto.message, "INVALID_FORMAT")


def _name(element: Any) -> str:
    """Return the name of one step of a field's path; one of several values has its number."""
    place = element.subscript
    return f"{element.field_name}[{place.value}]" if place else str(element.field_name)


def _locale_form_problem(tag: str) -> str:
    return f"is not a BCP 47 language tag, found {shown(tag)}; such as en or pt-BR"


def _external_id_problem(text: str) -> str:
    index = next((index for index, char in enumerate(text) if _is_control(char)), 0)
    return f"holds {at_position(text, index)}, control characters are not taken"


def _is_control(char: str) -> bool:
    return char < " " or "\x7f" <= char <= "\x9f" or char in "\u2028\u2029"


_NO_CAMPAIGN_ID = "campaign_id.integer"  # told as the trigger call tells it
_LENGTHS: dict[str, Callable[[Any, Any], str]] = {
    "max_len": lambda text, most: f"has {len(text)} characters, at most {most} are taken",
    "min_len": lambda text, least: f"has {len(text)} characters, at least {least} are needed",
    "max_items": lambda items, most: f"has {len(items)} items, at most {most} are taken",
    "max_bytes": lambda text, most: f"has {len(text.encode())} bytes, at most {most} are taken",
}
# A pattern says little to a person.
_FORMS: dict[str, Callable[[str], str]] = {
    "external_id": _external_id_problem,
    "request_id": lambda text: f"must be printable ASCII characters without spaces, found {shown(text)}",
    "locale": _locale_form_problem,
} | {
    field: spec.address.pattern_problem
    for field, spec in BY_ADDRESS_FIELD.items()
    if spec.address.pattern_problem
}
