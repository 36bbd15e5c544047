"""All rules of a typed trigger request, in one pass, so that one answer names every violation.

What a rule in the protos can say stands there (protovalidate). What it cannot say stands here: the time
zone's name, an address that can be delivered to, JSON inside a string.
"""

from __future__ import annotations

import re
import zoneinfo
from typing import TypeAlias

import email_validator
import protovalidate
from google.protobuf.message import Message

from clarion.v1 import trigger_pb2 as pb

from ..errors import Violation
from . import strict_json

__all__ = ["TriggerRequest", "check", "check_rules"]

TriggerRequest: TypeAlias = pb.TriggerEmailRequest | pb.TriggerTextRequest | pb.TriggerPushRequest

# A pattern says little to a person. (CEL rules could carry these sentences, at three times the cost.)
_PATTERNS = {
    "external_id": "must not hold control characters",
    "phone": "must be a phone number in E.164 form, such as +12345678900",
    "device_token": "must be printable ASCII without spaces",
    "locale": "must be a BCP 47 language tag, such as en or pt-BR",
}
_TIMEZONES = zoneinfo.available_timezones() - {"localtime", "Factory", "posixrules"}
# Nearly every address is of this plain form; the library judges the others, at ten times the cost. Those are
# also names with "--", which may be Punycode, and the top-level domains that nobody can have.
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PLAIN_EMAIL = re.compile(
    rf"(?=.{{1,64}}@)[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*@(?![^@]*--)(?:{_LABEL}\.)+"
    r"(?!(?:arpa|invalid|local|localhost|onion|test)\Z)[A-Za-z]{2,24}",
    re.IGNORECASE | re.ASCII,
)


def check_rules(message: Message) -> list[Violation]:
    """Return what the rules in the protos say against a message."""
    return [_violation(found) for found in protovalidate.collect_violations(message)]


def check(request: TriggerRequest, *, event_parsed: bool = False) -> list[Violation]:
    """Return everything that is wrong with a typed request; what the protos refuse is not judged further.

    `event_parsed` says that REST has parsed `event` already.
    """
    violations = check_rules(request)
    found = [
        _check_email(request),
        _check_timezone(request.user.timezone),
        _check_object("user.data", request.user.data),
        None if event_parsed else _check_object("event", request.event),
    ]
    if not violations:
        return [violation for violation in found if violation]
    named = {violation.field for violation in violations}
    return violations + [violation for violation in found if violation and violation.field not in named]


def _violation(found: protovalidate.Violation) -> Violation:
    proto = found.proto
    field = ".".join(element.field_name for element in proto.field.elements) if proto.field else ""
    rule = proto.rule_id
    if rule == "required":
        return Violation(field, "is required", "REQUIRED")
    if rule == "string.pattern":
        return Violation(field, _PATTERNS[field.rpartition(".")[2]], "INVALID_FORMAT")
    if rule.endswith((".max_len", ".max_bytes", ".gte", ".lte", ".gt")):
        return Violation(field, proto.message, "OUT_OF_RANGE")
    return Violation(field, proto.message, "INVALID_FORMAT")


def _check_email(request: TriggerRequest) -> Violation | None:
    if not isinstance(request, pb.TriggerEmailRequest):
        return None
    address = request.user.email
    if not address or _PLAIN_EMAIL.fullmatch(address):
        return None
    try:
        email_validator.validate_email(address, check_deliverability=False)
    except email_validator.EmailNotValidError as error:
        why = str(error).rstrip(".")
        return Violation("user.email", f"is not an email address: {why}", "INVALID_FORMAT")
    return None


def _check_timezone(name: str) -> Violation | None:
    if not name or name in _TIMEZONES:
        return None
    return Violation("user.timezone", "is not an IANA time zone, such as America/Chicago", "UNKNOWN_VALUE")


def _check_object(field: str, text: str) -> Violation | None:
    """Check a JSON object that travels as text."""
    if not text:
        return None
    try:
        value = strict_json.decode(text)
    except strict_json.JsonError as error:
        return Violation(field, str(error), "MALFORMED_JSON")
    if isinstance(value, dict):
        return None
    return Violation(field, f"must be an object, found {strict_json.type_name(value)}", "WRONG_TYPE")
