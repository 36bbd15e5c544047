"""Headers of emails: encoded words, folding, and the length of lines."""

from __future__ import annotations

import binascii
import functools
import re
from collections.abc import Iterator

from ..domain.delivery_errors import ProviderError, Verdict

__all__ = [
    "MAX_URL",
    "header",
    "list_header",
    "list_headers",
    "mailbox_header",
    "one_line",
    "text_header",
]

MAX_URL = 2000
"""Maximum length of a URL in `List-Unsubscribe`, in characters."""
_MAX_LINE = 998
"""Maximum length of a line (RFC 5322 section 2.1.1)."""
_FOLDED_LINE = 76
"""Maximum length of a line with encoded words (RFC 2047 section 2); longer headers are folded."""
_ENCODED_WORD = 39
"""Octets of text in one encoded word: 64 characters with base64 and delimiters, so `Subject: ` also fits."""
_MAX_PLAIN = 66
_PLAIN = re.compile(rf"(?!.*=\?)[\x20-\x7e]{{0,{_MAX_PLAIN}}}")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Printable ASCII without the angle brackets that enclose the URL.
_HEADER_URL = re.compile(r"[!-;=?-~]+")


def one_line(text: str) -> str:
    """Return text without control characters and line breaks, which could inject headers."""
    return " ".join(_CONTROLS.sub(" ", text).split())


def header(name: str, *words: str) -> str:
    """Return a header, folded between words where a line would become too long."""
    lines = [f"{name}:"]
    for word in words:
        if len(lines[-1]) + 1 + len(word) > _FOLDED_LINE:
            lines.append("")
        lines[-1] += f" {word}"
    return "\r\n".join(lines)


def text_header(name: str, text: str) -> str:
    """Return a header of free text, such as a subject."""
    line = one_line(text)
    return header(name, line) if _PLAIN.fullmatch(line) else header(name, *_encoded_words(line))


@functools.lru_cache(maxsize=1024)
def mailbox_header(name: str, display_name: str, address: str) -> str:
    """Return a header with one mailbox; `address` must be ASCII, without angle brackets."""
    if not display_name:
        return header(name, address)
    words: Iterator[str] | tuple[str] = (display_name,)
    if not _PLAIN.fullmatch(display_name):
        words = _encoded_words(display_name)
    elif not _ATOMS.fullmatch(display_name):
        escaped = display_name.replace("\\", r"\\").replace('"', r"\"")
        words = (f'"{escaped}"',)
    return header(name, *words, f"<{address}>")


def list_header(name: str, value: str) -> str:
    """Return a header of `list_headers`, folded even within its URL if that is too long for a line.

    White space in the angle brackets is ignored (RFC 2369 section 2).
    """
    step = _MAX_LINE - 1
    return header(name, *(value[start : start + step] for start in range(0, len(value), step)))


def list_headers(list_id: str, unsubscribe_url: str) -> dict[str, str]:
    """Return the `List-` headers of an email; empty without an unsubscribe URL.

    RFC 2369 defines `List-Unsubscribe`, RFC 8058 one-click unsubscription, and RFC 2919 `List-Id`.

    Raises:
        ProviderError: The URL cannot be used in a header.
    """
    if not unsubscribe_url:
        return {}
    if len(unsubscribe_url) > MAX_URL or not _HEADER_URL.fullmatch(unsubscribe_url):
        problem = "the unsubscribe URL cannot be used in a header"
        raise ProviderError(Verdict.NEVER, problem, reached_provider=False)
    headers = {"List-Id": f"<{list_id}>", "List-Unsubscribe": f"<{unsubscribe_url}>"}
    if unsubscribe_url.lower().startswith("https://"):
        headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return headers


def _encoded_words(line: str) -> Iterator[str]:
    """Yield text as encoded words in UTF-8 (RFC 2047) without splitting a character."""
    text = line.encode("utf-8", "replace")
    start = 0
    while start < len(text):
        end = start + _ENCODED_WORD
        while end < len(text) and text[end] & 0xC0 == 0x80:  # noqa: PLR2004 (a UTF-8 continuation byte)
            end -= 1
        yield f"=?utf-8?b?{binascii.b2a_base64(text[start:end], newline=False).decode()}?="
        start = end
