"""Checks how deeply a JSON text is nested and how many values it has, before a decoder reads it.

Python's recursion limit depends on the version, so without this check the accepted texts would, too. The
number of values is limited because the strict decoder needs several microseconds for each, even a short one.
"""

from __future__ import annotations

import re
from typing import Literal

__all__ = [
    "MAX_DEPTH",
    "MAX_VALUES",
    "STRING",
    "STRING_OR_BRACKET",
    "exceeds_depth",
    "exceeds_values",
    "is_deep_first",
    "is_excessive",
    "path_of_excess",
]

MAX_DEPTH = 32
MAX_VALUES = 1000
"""Members of objects and elements of arrays, on all levels. Empty objects and arrays count twice."""
_EXCESSIVE_DEPTH = 4 * MAX_DEPTH
_LOOKED_BACK = 64  # characters between a colon and a bracket; with more blanks, the member is not named
_EXCESSIVE_VALUES = 3 * MAX_VALUES  # more than a body within its limits can have
# An unterminated string matches up to the end of the text. Searching for its end at each later quote would
# take quadratic time.
STRING = r'"(?:[^"\\]++|\\.)*(?:"|\\?\Z)'
_STRING_OR_MARK = re.compile(rf"{STRING}|[\[\]{{}},]", re.DOTALL)
STRING_OR_BRACKET = re.compile(rf"{STRING}|[\[{{]|[\]}}]", re.DOTALL)


def exceeds_depth(text: str | bytes, most: int = MAX_DEPTH) -> bool:
    """Return whether a JSON text is nested more than `most` levels deep."""
    if isinstance(text, bytes):
        text = text.decode("latin-1")  # brackets, quotes and backslashes are the same in UTF-8
    return is_deep_first(text, most, len(text))  # no text has more values than characters


def exceeds_values(text: str, most: int = MAX_VALUES) -> bool:
    """Return whether a JSON text has more than `most` values. The text need not be valid."""
    if text.count("{") + text.count("[") + text.count(",") <= most:
        return False  # true for most texts, without parsing
    return _first_excess(text, len(text), most) == "values"


def is_deep_first(text: str, depth: int, values: int) -> bool:
    """Return whether a JSON text, read from its start, exceeds `depth` before it exceeds `values`.

    Reading stops at the first limit that is exceeded, so the check is cheap for any text.
    """
    if text.count("{") + text.count("[") <= depth:
        return False  # true for most texts, without parsing
    return _first_excess(text, depth, values) == "depth"


def is_excessive(text: str) -> bool:
    """Return whether a deep JSON text is too deep, or has too many values, to read on.

    The check stops there, so it is cheap for any text. Finding out what else is wrong with it is not.
    """
    return _first_excess(text, _EXCESSIVE_DEPTH, _EXCESSIVE_VALUES) is not None


def path_of_excess(text: str) -> str:
    """Return the path of the member in which a text becomes excessive, such as `user.data`.

    It has at most two levels, and is empty if the text becomes excessive outside of a member.
    """
    names = ["", ""]
    level = count = 0
    latest = ""
    for match in _STRING_OR_MARK.finditer(text):
        mark = match[0]
        if mark in "]}":
            level -= 1
        elif mark in "[{,":
            before = text[max(0, match.start() - _LOOKED_BACK) : match.start()]
            if mark != "," and level in (1, 2) and before.rstrip().endswith(":"):
                names[level - 1 :] = [latest, ""][: 3 - level]
            count += 1
            level += mark != ","
            if level > _EXCESSIVE_DEPTH or count > _EXCESSIVE_VALUES:
                break
        elif level in (1, 2):
            latest = mark[1:-1]
    return ".".join(filter(None, names[: max(0, min(2, level - 1))]))


def _first_excess(text: str, depth: int, values: int) -> Literal["depth", "values"] | None:
    """Return the limit that a text exceeds first, or None. The text after that is not read."""
    level = count = 0
    for match in _STRING_OR_MARK.finditer(text):
        mark = match[0]
        if mark in "]}":
            level -= 1
        elif mark in "[{,":
            count += 1
            level += mark != ","
            if level > depth:
                return "depth"
            if count > values:
                return "values"
    return None
