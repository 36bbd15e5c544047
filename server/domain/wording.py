"""How violations show what they found: short, harmless to print, and never a recipient's address."""

from __future__ import annotations

__all__ = ["at_position", "quoted"]

_MOST = 40  # bytes of a caller's value that a description repeats
_NAMED = {" ": "a space", "\t": "a tab", "\n": "a line break", "\r": "a line break", '"': "a double quote"}


def quoted(text: str) -> str:
    """Return a short value in quotes, for fields that name no recipient."""
    safe = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text[: _MOST + 1])
    raw = safe.encode()
    return f'"{safe}"' if len(raw) <= _MOST else f'"{raw[: _MOST - 3].decode(errors="ignore")}…"'


def at_position(text: str, index: int) -> str:
    """Name one character, and where it stands, without what is around it."""
    char = text[index]
    plain = f'a "{char}"' if char.isascii() and char.isprintable() else f"the character U+{ord(char):04X}"
    return f"{_NAMED.get(char, plain)} at position {index + 1}"
