"""The idempotency key of a call: a header over REST, metadata or a field over gRPC."""

from __future__ import annotations

import re

from ..domain.wording import quoted
from ..errors import IdempotencyKeyReused, Violation
from .contract import REQUEST_FIELDS

__all__ = ["FIELD", "HEADER", "idempotency_key", "reused"]

HEADER, FIELD = "idempotency-key", "request_id"
_RULES = REQUEST_FIELDS[FIELD].rules
_MAX_LENGTH: int = _RULES["max_length"]
_ALLOWED = re.compile(_RULES["pattern"])
# A string of RFC 9651, as draft-ietf-httpapi-idempotency-key-header has it.
_QUOTED = re.compile(r'"((?:[!#-\[\]-~]|\\["\\])*)"')
_ESCAPED = re.compile(r"\\(.)")


def idempotency_key(header: str | None, request_id: str) -> str | Violation:
    """Return the key of a call, empty if it has none, or what is wrong with it.

    The value of the header may be in double quotes: `"a"` and `a` are the same key.
    """
    if header is None:
        return request_id
    quotation = _QUOTED.fullmatch(header)
    key = _ESCAPED.sub(r"\1", quotation[1]) if quotation else header
    if not 0 < len(key) <= _MAX_LENGTH or not _ALLOWED.match(key):
        allowed = f"must be 1 to {_MAX_LENGTH} printable ASCII characters without spaces"
        return Violation(HEADER, f"{allowed}, found {quoted(header)}", "INVALID_FORMAT")
    if request_id and request_id != key:
        return Violation(HEADER, "is not the same as request_id: give one of them", "INVALID_FORMAT")
    return key


def reused(error: IdempotencyKeyReused, field: str) -> IdempotencyKeyReused:
    """Return the store's error with the field in which the caller sent the key."""
    description = "was used for a trigger with other content; send_at counts as content, too"
    violation = Violation(field, description, "ALREADY_USED")
    return IdempotencyKeyReused(metadata=error.metadata, violations=[violation])
