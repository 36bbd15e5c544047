"""The canonical form of a JSON object: two objects with the same value have the same form."""

from __future__ import annotations

import json

import msgspec

__all__ = ["canonical"]

# Numbers are compared as text: templates print that text, and no Python type can hold every JSON number. The
# NUL prefix distinguishes them from strings, because accepted texts contain no NUL.
_number = "\0".__add__
_decode = json.JSONDecoder(parse_int=_number, parse_float=_number).decode
_encode = msgspec.json.Encoder(order="sorted").encode


def canonical(text: str) -> str:
    """Return a JSON object with its members sorted, without white space, and with uniform escapes.

    Args:
        text: An object that the intake has accepted: it has no duplicate names, NUL, NaN or infinity.
    """
    return _encode(_decode(text)).decode()
