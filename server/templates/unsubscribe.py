"""Checks the URL for an email's List-Unsubscribe header."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from ..channels.email_headers import MAX_URL
from ..domain.delivery_errors import RenderError

__all__ = ["checked_url"]

# Printable ASCII without the angle brackets that enclose the URL in the header.
_VISIBLE = re.compile(r"[!-;=?-~]*")
_URL = re.compile(r"https://[a-z0-9\[].*|mailto:[^@]+@.+", re.I)


def checked_url(text: str) -> str:
    """Return the rendered URL without surrounding white space.

    Raises:
        RenderError: It is not an https:// or mailto: URL, or cannot be used in a header. The message does not
            repeat it, because it may contain a user's token.
    """
    url = text.strip()
    if len(url) > MAX_URL:
        raise RenderError(f"longer than {MAX_URL} characters")
    if not _VISIBLE.fullmatch(url):
        raise RenderError(
            "contains a space, < or >, or a non-ASCII character; apply `url_encode` to the inserted values"
        )
    if not _URL.fullmatch(url):
        raise RenderError("must start with https:// and a host, or with mailto: and an address")
    if not _has_valid_host(url):
        raise RenderError("must have a valid host, and a port between 1 and 65535 if it has one")
    return url


def _has_valid_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme == "mailto" or (bool(parts.hostname) and parts.port != 0)
    except ValueError:
        return False
