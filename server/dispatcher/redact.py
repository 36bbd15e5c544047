"""Keeps recipients' addresses, control characters and very long texts out of records and logs."""

from __future__ import annotations

import re
import traceback
from urllib.parse import quote

__all__ = ["WITHHELD", "safe_traceback", "scrub", "withhold"]

HIDDEN = "[recipient]"
MAX_LENGTH = 500
"""Characters of an error text that are kept, including the ellipsis."""
WITHHELD = "text not kept (retain: none)"
_CODE = re.compile(r"(SMTP|(APNs|FCM|SendGrid|Twilio) HTTP) [2-5]\d\d(?!\d)")
MIN_LOCAL_PART = 4
"""Shorter local parts identify no one, and hiding them would garble the provider's text."""


def scrub(text: str, address: str) -> str:
    """Return `text` as one printable line without `address` in any of its usual forms."""
    if address:
        text = re.sub(_pattern(address), HIDDEN, text, flags=re.IGNORECASE)
    text = text.encode("utf-8", "replace").decode()  # lone surrogates cannot be stored
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= MAX_LENGTH else line[: MAX_LENGTH - 1] + "…"


def _pattern(address: str) -> str:
    """Match the address: verbatim, percent-encoded, without its plus, or its local part as a word."""
    forms = {address, quote(address), quote(address, safe=""), address.lstrip("+")} - {""}
    patterns = [re.escape(form) for form in sorted(forms, key=len, reverse=True)]
    local, at, _ = address.rpartition("@")
    if at and len(local) >= MIN_LOCAL_PART:
        patterns.append(rf"(?<!\w){re.escape(local)}(?!\w)")
    return "|".join(patterns)


def withhold(text: str) -> str:
    """Return an error without what may quote the message: only the code that it begins with."""
    code = _CODE.match(text)
    return f"{code[0]}: {WITHHELD}" if code else WITHHELD


def safe_traceback(error: BaseException) -> str:
    """Return an error's stack and class without its text, which may contain an address."""
    stack = "".join(traceback.format_tb(error.__traceback__))
    return f"{stack}{type(error).__name__}"
