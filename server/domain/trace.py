"""The W3C trace context, which connects a caller's trace with the later delivery."""

from __future__ import annotations

import re

__all__ = ["trace_context", "trace_id"]

# version-traceid-parentid-flags, neither id all zeros (https://www.w3.org/TR/trace-context/#traceparent-header).
# Versions after 00 may have more fields, which are dropped.
_TRACEPARENT = re.compile(
    r"((?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})(-.*)?"
)


def trace_context(header: str) -> str:
    """Return the four fields of a `traceparent` header, or an empty string if it is malformed."""
    if not header:
        return ""
    match = _TRACEPARENT.fullmatch(header.strip())
    if match is None or (match[2] and match[1].startswith("00")):
        return ""
    return match[1]


def trace_id(context: str) -> str | None:
    """Return the trace id, 32 hexadecimal digits, or None if the context is empty."""
    return context.split("-")[1] if context else None
