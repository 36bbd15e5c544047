"""The address in an email's header List-Unsubscribe."""

from __future__ import annotations

import re

from ..errors import RenderError

__all__ = ["checked_url"]

MAX_URL = 2000
"""Characters."""

# Printable ASCII without the brackets that the header puts around it: what could end the header is not in it.
_VISIBLE = re.compile(r"[!-;=?-~]*")
_URL = re.compile(r"https://[a-z0-9\[].*|mailto:[^@]+@.+", re.I)


def checked_url(text: str) -> str:
    """Return the URL that a template came out as.

    Raises:
        RenderError: It is no https:// or mailto: URL, or cannot stand in a header. The message does not
            repeat it: it may hold a user's token.
    """
    url = text.strip()
    if len(url) > MAX_URL:
        raise RenderError(f"longer than {MAX_URL} characters")
    if not _VISIBLE.fullmatch(url):
        raise RenderError("holds a space, < or >, or a character beyond ASCII: `url_encode` what is put in")
    if not _URL.fullmatch(url):
        raise RenderError("does not begin with https:// and a host, or with mailto: and an address")
    return url
