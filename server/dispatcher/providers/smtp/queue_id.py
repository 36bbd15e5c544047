"""Finds the server's ID for a message in its reply. The server's operators can search their logs for it."""

from __future__ import annotations

import re

__all__ = ["queue_id"]

_STATUS = re.compile(r"\A2\.\d{1,3}\.\d{1,3}:?\s+")
_ID = r"([\w.@+-]*\w)"
_FORMS = tuple(
    re.compile(form, re.IGNORECASE | re.ASCII)
    for form in (
        rf"\bqueued as <?{_ID}",  # Postfix, SendGrid
        rf"\bids?={_ID}",  # Exim, KumoMTA
        r"\[InternalId=(\d+)",  # Exchange
        rf"\A{_ID} Message accepted for delivery",  # Sendmail, OpenSMTPD
        rf"\AOK +\d+ {_ID} - gsmtp",  # Google
        r"\AOK \d+ qp (\d+)",  # qmail
        r"\AOK ([0-9a-f]{16}-[0-9a-f-]+)\Z",  # Amazon SES
        rf"\bqueued with id {_ID}",  # Stalwart
        rf"\bqueued \({_ID}\)",  # Haraka
    )
)


def queue_id(reply: str) -> str:
    """Return the ID in a reply to a message's content, or an empty string.

    Args:
        reply: The reply's text without its code.
    """
    text = _STATUS.sub("", reply.strip())
    found = next((match for form in _FORMS if (match := form.search(text))), None)
    return found[1] if found else ""
