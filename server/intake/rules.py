"""All rules on a typed request in one pass, so that one answer names every violation.

The protos state most rules (protovalidate). Checked here is what they cannot state: names of time zones,
addresses that can be delivered to, JSON inside a string.
"""

from __future__ import annotations

import functools
import operator
import sys
from collections.abc import Callable, Iterator, Sized

import protovalidate
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from ..channels import CHANNELS
from ..domain.json_limits import MAX_VALUES, is_deep_first
from ..domain.locale import normal_locale
from ..errors import InvalidRequest, Violation
from . import strict_json
from .contract import OBJECTS, rules_of
from .explain import broken_rule, locale_problem, too_many_items, wrong_type
from .timezones import timezone_problem
from .typed import TriggerRequest, channel_of

__all__ = ["check", "check_rules", "require_valid"]

_HAS_NUL = "must not contain the character U+0000"
_MAX_DESCRIBED = 1000
"""In a message with more items than this, only the first violation is named: 20,000 take seconds."""
_READ_DEPTH = strict_json.MAX_DEPTH + 1
_objects_of = operator.attrgetter(*OBJECTS)


def check_rules(message: Message) -> list[Violation]:
    """Return how a message breaks the rules in the protos, with one violation a field."""
    items = 0
    for field, values, most in _lists(message):
        items += len(values)
        if len(values) > most:  # to check and describe each of a million items would take minutes
            return [Violation(field, too_many_items(values, most), "OUT_OF_RANGE")]
    found: dict[str, Violation] = {}
    for one in protovalidate.collect_violations(message, fail_fast=items > _MAX_DESCRIBED):
        violation = broken_rule(one)
        if violation.field not in found or violation.reason == "OUT_OF_RANGE":  # a length says more
            found[violation.field] = violation
    return list(found.values())


def _lists(message: Message, above: str = "") -> Iterator[tuple[str, Sized, int]]:
    """Yield the path, the items and the maximum of each list in a message, outer ones first."""
    if not _has_lists(message.DESCRIPTOR):
        return
    for field, value in message.ListFields():
        path, kind = above + field.name, field.message_type
        if not field.is_repeated:
            if kind:
                yield from _lists(value, f"{path}.")
        elif not (kind and kind.GetOptions().map_entry):
            rules = rules_of(field).repeated
            yield path, value, rules.max_items if rules.HasField("max_items") else sys.maxsize
            for place, one in enumerate(value if kind else ()):
                yield from _lists(one, f"{path}[{place}].")


@functools.cache
def _has_lists(kind: Descriptor) -> bool:
    """Return whether messages of this type contain lists, which triggers do not."""
    return any(
        field.is_repeated or (field.message_type and _has_lists(field.message_type)) for field in kind.fields
    )


def require_valid(message: Message) -> None:
    """Check a message against the rules in the protos, and that the database can store its texts.

    Raises:
        InvalidRequest: It breaks some, all of which are named.
    """
    violations = check_rules(message)
    broken = {violation.field for violation in violations}
    violations += [
        Violation(one, _HAS_NUL, "INVALID_FORMAT") for one in _with_nul(message) if one not in broken
    ]
    if violations:
        raise InvalidRequest(violations)


def _with_nul(message: Message, above: str = "") -> Iterator[str]:
    """Yield the fields whose text contains NUL, which no text in PostgreSQL can."""
    for field, value in message.ListFields():
        if field.message_type and field.message_type.GetOptions().map_entry:
            continue
        values = enumerate(value) if field.is_repeated else [(None, value)]
        for place, one in values:
            name = above + (field.name if place is None else f"{field.name}[{place}]")
            if isinstance(one, Message):
                yield from _with_nul(one, f"{name}.")
            elif isinstance(one, str) and "\0" in one:
                yield name


def check(request: TriggerRequest, *, decoded: bool = False) -> list[Violation]:
    """Return everything that is wrong with a typed request.

    A field that breaks a rule in the protos is not checked further.

    Args:
        request: The request.
        decoded: Whether its JSON objects were decoded before, so that only their limits need a check.
    """
    violations = check_rules(request)
    broken = {violation.field for violation in violations}
    checks = _check_values(request, _check_limits if decoded else _check_object)
    return violations + [one for one in checks if one and one.field not in broken]


def _check_values(
    request: TriggerRequest, check_object: Callable[[str, str], Violation | None]
) -> Iterator[Violation | None]:
    user = request.user
    address = CHANNELS[channel_of(request)].address
    yield _check_text(f"user.{address.field}", getattr(user, address.field), address.problem)
    yield _check_text("user.timezone", user.timezone, timezone_problem, "UNKNOWN_VALUE")
    yield _check_text("user.locale", user.locale, _locale_problem)
    for path, text in zip(OBJECTS, _objects_of(request), strict=True):
        yield check_object(path, text)


def _check_text(
    field: str, value: str, problem: Callable[[str], str | None], reason: str = "INVALID_FORMAT"
) -> Violation | None:
    description = problem(value) if value else None
    return Violation(field, description, reason) if description else None


def _locale_problem(tag: str) -> str | None:
    try:
        normal_locale(tag)
    except ValueError:
        return locale_problem(tag)
    return None


def _check_object(field: str, text: str) -> Violation | None:
    """Check a JSON object in a string. Its depth is checked last, as in a REST body."""
    if not text:
        return None
    try:
        if is_deep_first(text, strict_json.MAX_DEPTH, MAX_VALUES):
            strict_json.check_not_excessive(text)
        else:
            strict_json.check_values(text)
        value = strict_json.decode(strict_json.blank_below(text, _READ_DEPTH), depth=_READ_DEPTH)
        if isinstance(value, dict):
            strict_json.check_depth(text)
            return None
    except strict_json.JsonError as error:
        return Violation(field, str(error), error.reason)
    return wrong_type(field, "an object", value)


def _check_limits(field: str, text: str) -> Violation | None:
    """Check the limits of a JSON object that was decoded before."""
    try:
        strict_json.check_values(text)
        strict_json.check_depth(text)
    except strict_json.JsonError as error:
        return Violation(field, str(error), error.reason)
    return None
