"""The canonical form of a JSON object: two objects with the same value have the same form."""

from __future__ import annotations

import json

import msgspec

__all__ = ["canonical"]

# Numbers are compared by their text: templates print it, and no Python type holds all of them. The NUL, which
# is in no accepted text, distinguishes them from strings.
_number = "\0".__add__
_decode = json.JSONDecoder(parse_int=_number, parse_float=_number).decode
_encode = msgspec.json.Encoder(order="sorted").encode


def canonical(text: str) -> str:
    """Return a JSON object with its members sorted, without blanks, and with each string escaped alike.

    Args:
        text: An object that the intake has accepted: without duplicate names, NUL, NaN and infinity.
    """
    return _encode(_decode(text)).decode()
