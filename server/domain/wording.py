"""Formats callers' values for display: short, and safe to print on a terminal."""

from __future__ import annotations

import re

__all__ = ["at_position", "printable", "quoted"]

_MOST = 40  # maximum bytes of a caller's value that a message quotes
_NAMED = {" ": "a space", "\t": "a tab", "\n": "a line break", "\r": "a line break", '"': "a double quote"}

_HARMFUL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Return a text with control and bidirectional characters as JSON escapes, except line breaks and tabs.

    On a terminal, such characters could move the cursor or reorder what is shown.
    """
    return _HARMFUL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def quoted(text: str) -> str:
    """Return a value in quotes, shortened to 40 bytes. Not for fields that identify a recipient."""
    safe = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text[: _MOST + 1])
    raw = safe.encode()
    return f'"{safe}"' if len(raw) <= _MOST else f'"{raw[: _MOST - 3].decode(errors="ignore")}…"'


def at_position(text: str, index: int) -> str:
    """Describe one character and its position, without the text around it."""
    char = text[index]
    plain = f'a "{char}"' if char.isascii() and char.isprintable() else f"the character U+{ord(char):04X}"
    return f"{_NAMED.get(char, plain)} at position {index + 1}"
