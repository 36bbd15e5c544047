"""How deep JSON may be nested: an explicit limit, checked before a recursive decoder reads the text.

Python's own limit on recursion differs by version, and so would what is accepted.
"""

from __future__ import annotations

import re

__all__ = ["MAX_DEPTH", "STRING", "STRING_OR_BRACKET", "exceeds_depth"]

MAX_DEPTH = 32
# An unterminated string extends to the end of the text: looking for its end at each quote in it would take
# quadratic time.
STRING = r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)'
STRING_OR_BRACKET = re.compile(rf"{STRING}|[\[{{]|[\]}}]", re.DOTALL)


def exceeds_depth(text: str | bytes, most: int = MAX_DEPTH) -> bool:
    """Return whether a JSON text is nested more than `most` levels deep."""
    if isinstance(text, bytes):
        text = text.decode("latin-1")  # brackets, quotes and backslashes are the same in UTF-8
    if text.count("{") + text.count("[") <= most:
        return False  # most texts
    depth = 0
    for match in STRING_OR_BRACKET.finditer(text):
        if match[0] in "[{":
            depth += 1
            if depth > most:
                return True
        elif match[0] in "]}":
            depth -= 1
    return False
