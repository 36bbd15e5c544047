"""The idempotency key of a call: a header over REST, metadata or a field over gRPC."""

from __future__ import annotations

import re

from ..domain.wording import shown
from ..errors import Violation

__all__ = ["FIELD", "HEADER", "idempotency_key"]

HEADER, FIELD = "idempotency-key", "request_id"
_BARE = re.compile("[!-~]{1,255}")
# A string of RFC 9651, as draft-ietf-httpapi-idempotency-key-header has it.
_QUOTED = re.compile(r'"((?:[!#-\[\]-~]|\\["\\])+)"')
_ESCAPED = re.compile(r"\\(.)")


def idempotency_key(header: str | None, request_id: str) -> str | Violation:
    """Return the call's key, empty if it has none, or what is wrong with it.

    The header's value may stand in quotes; `"a"` and `a` are the same key.
    """
    if header is None:
        return request_id
    quoted = _QUOTED.fullmatch(header)
    key = _ESCAPED.sub(r"\1", quoted[1]) if quoted else header
    if not _BARE.fullmatch(key):
        description = f"must be 1 to 255 printable ASCII characters without spaces, found {shown(header)}"
        return Violation(HEADER, description, "INVALID_FORMAT")
    if request_id and request_id != key:
        return Violation(HEADER, "is not the same as request_id: give one of them", "INVALID_FORMAT")
    return key
