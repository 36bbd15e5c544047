"""How Liquid's reference prints, compares and counts the values of JSON, where Python does it differently.

In Liquid, `true` prints as `true` and is not the number 1, and `nil` prints as nothing. See `Liquid::Utils`
and `Liquid::Condition` of github.com/Shopify/liquid.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import ROUND_HALF_UP, Context, Decimal
from json.encoder import encode_basestring
from typing import Any, TypeVar

from liquid.exceptions import FilterArgumentError, ResourceLimitError
from liquid.undefined import is_undefined
from markupsafe import Markup, escape

from .limits import MAX_INTEGER_BITS, MAX_OUTPUT

__all__ = [
    "EXACT",
    "Number",
    "is_blank",
    "is_missing",
    "limited",
    "member",
    "number_of",
    "printed",
    "same",
    "text_of",
]

MAX_DIGITS = 4300
"""Maximum length of a number in a text, as in Python: the time to convert it grows with the square."""

Number = int | Decimal
TextT = TypeVar("TextT", str, bytes)

# The precision is enough for the largest integer with decimal places, so numbers are rounded only to the
# digits that the template requests. Half is rounded away from zero, as is usual for prices.
EXACT = Context(prec=MAX_INTEGER_BITS, rounding=ROUND_HALF_UP)

_CONTAINERS = (dict, list, tuple)
"""Types of arrays and objects. Their subclasses print as they say themselves."""
_NUMBER = re.compile(r"\s*(?:(-?[0-9]+\.[0-9]+)\s*\Z|([+-]?[0-9]+))")


def is_missing(value: object) -> bool:
    """Return whether a value is nil or an undefined variable."""
    return value is None or is_undefined(value)


def is_blank(value: object) -> bool:
    """Return whether a value equals `blank`: nil, false, white space, or an empty array or object."""
    if isinstance(value, str):
        return not value or value.isspace()
    return value is False or is_missing(value) or (isinstance(value, list | tuple | Mapping) and not value)


def same(left: object, right: object) -> bool:
    """Return whether two values are equal. Unlike in Python, 1 and true differ, and so do 0 and false."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return left == right


def text_of(value: object) -> str:
    """Return a value as filters see it if they expect text.

    Raises:
        ResourceLimitError: The text is too long.
    """
    if isinstance(value, str):  # also Markup
        return value
    return _inspected(value) if type(value) in _CONTAINERS else _scalar(value)


def printed(value: object, *, html: bool) -> str:
    """Return a value as an output statement prints it: an array as its items, without anything between.

    Args:
        value: The value.
        html: Whether to escape it, if it is not marked as safe.
    """
    if isinstance(value, list | tuple):
        text = "".join(limited(printed(item, html=html) for item in value))
        return Markup(text) if html else text  # noqa: S704 - each item is escaped
    text = text_of(value)
    return escape(text) if html else text


def _scalar(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, range):
        return f"{value.start}..{value.stop - 1}"
    return str(value)


def _inspected(value: object) -> str:
    """Return the text of an array or object, or of a value in it, as Ruby's `inspect` has it."""
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(limited(map(_inspected, value)))}]"
    if type(value) is dict:
        members = (f"{_inspected(key)}=>{_inspected(item)}" for key, item in value.items())
        return f"{{{', '.join(limited(members))}}}"
    return "nil" if is_missing(value) else _scalar(value)


def limited(pieces: Iterable[TextT], what: str = "the text of an array or object") -> Iterator[TextT]:
    """Yield texts that are collected, as long as their total length is within the limit of a filter's result.

    Few values of the data can become many: `concat` repeats them.

    Raises:
        ResourceLimitError: They are longer.
    """
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > MAX_OUTPUT:
            raise ResourceLimitError(f"{what} is too long", token=None)
        yield piece


def number_of(value: object) -> Number:
    """Return the number that a value is or, as text, begins with; otherwise 0, also for booleans.

    Floats become the decimals that the data show, so 1.005 is not slightly less.

    Raises:
        FilterArgumentError: The text begins with too many digits.
    """
    if isinstance(value, int):
        return 0 if isinstance(value, bool) else value
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, Decimal):
        return value
    found = _NUMBER.match(value) if isinstance(value, str) else None
    if found is None:
        return 0
    if len(found[0]) > MAX_DIGITS:
        raise FilterArgumentError(f"a number has more than {MAX_DIGITS} digits", token=None)
    return Decimal(found[1]) if found[1] else int(found[2])


def member(item: Any, key: Any) -> Any:
    """Return a property of an array's item, or None if it has no such property.

    A string has its substrings as properties, and an integer itself, so that `where` and `has` work on them.

    Raises:
        FilterArgumentError: The item has no properties.
    """
    if isinstance(item, Mapping):
        try:
            return item[key]
        except (LookupError, TypeError):  # also for a key that is an array
            return None
    if isinstance(item, str):
        return key if isinstance(key, str) and key in item else None
    if isinstance(item, list | tuple | range) or item is None:
        return None
    if isinstance(item, int) and isinstance(key, int):
        return True if same(item, key) else None
    raise FilterArgumentError("an item of the array has no properties", token=None)
