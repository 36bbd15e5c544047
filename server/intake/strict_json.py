"""JSON as strict as the contract: no NaN, no duplicate names, no lone surrogates, bounded depth.

Only trailing commas are accepted: the first documentation of the contract printed its examples with them, and
people paste those.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from ..domain.json_limits import (
    MAX_DEPTH,
    MAX_VALUES,
    STRING,
    STRING_OR_BRACKET,
    exceeds_depth,
    exceeds_values,
    is_excessive,
)

__all__ = [
    "MAX_DEPTH",
    "JsonError",
    "TooDeep",
    "TooManyValues",
    "blank_below",
    "check_depth",
    "check_not_excessive",
    "check_values",
    "decode",
    "decode_leniently",
    "text_of",
    "type_name",
    "without_trailing_commas",
]

ValueT = TypeVar("ValueT")

# A comma right after an opening bracket is not a trailing comma, and is kept.
_KEPT_OR_TRAILING_COMMA = re.compile(rf"({STRING}|[\[{{]\s*+,)|,(?=\s*[\]}}])", re.DOTALL)
_POSSIBLE_TRAILING_COMMA = re.compile(r",\s*[\]}]")
# A name is only repeated in an error if it cannot be someone's address.
_HARMLESS_NAME = re.compile("[A-Za-z_][A-Za-z0-9_-]{0,39}")
_UNPRINTABLE = re.compile("[\x00\ud800-\udfff]")


_BYTE_ORDER_MARK = "\ufeff"
# How other encodings start, with or without a byte order mark, if the first character is ASCII.
_UTF_16_OR_32 = re.compile(rb"\xff\xfe|\xfe\xff|\0+[^\0]|[^\0]\0", re.DOTALL)
_GZIP = b"\x1f\x8b"  # https://www.rfc-editor.org/rfc/rfc1952#section-2.3.1


class JsonError(ValueError):
    """The text is not JSON as the contract requires it. The message is the end of a sentence: "is not …"."""

    reason = "MALFORMED_JSON"
    """The name of the ViolationReason, without its prefix."""


class TooDeep(JsonError):
    """The text may be JSON, but it is nested too deeply."""

    reason = "OUT_OF_RANGE"


class TooManyValues(JsonError):
    """The text may be JSON, but it has too many values."""

    reason = "OUT_OF_RANGE"


def text_of(data: bytes) -> str:
    """Return the text of a JSON body.

    Raises:
        JsonError: It is not UTF-8; the message names what it probably is.
    """
    if _UTF_16_OR_32.match(data):
        raise JsonError("is UTF-16 or UTF-32; send it in UTF-8")
    if data.startswith(_GZIP):
        raise JsonError("is compressed with gzip; send it uncompressed")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise JsonError(f"is not UTF-8: byte {error.start} is not part of a character") from error


def decode(text: str, *, depth: int = MAX_DEPTH) -> Any:
    """Return the value of a JSON text that is nested at most `depth` levels.

    Raises:
        JsonError: It is not; the message has the position.
    """
    if text.startswith(_BYTE_ORDER_MARK):
        raise JsonError("starts with a byte order mark (U+FEFF); send it without")
    check_depth(text, depth)
    try:
        value = _decoder.decode(text)
    except json.JSONDecodeError as error:
        what = error.msg.lower().removesuffix(" at")  # some of Python's messages end with it
        if text.strip() and (not text[error.pos :].strip() or what == "unterminated string starting"):
            what = f"it ends too early: {what}"
        where = f"line {error.lineno}, column {error.colno}"
        raise JsonError(f"is not valid JSON: {what} at {where}") from error
    if "\\u" in text:
        _check_escapes(value)
    return value


def without_trailing_commas(text: str) -> str:
    """Return the text without commas before a closing bracket."""
    if not _POSSIBLE_TRAILING_COMMA.search(text):  # as in nearly all bodies
        return text
    return _KEPT_OR_TRAILING_COMMA.sub(lambda match: match[1] or "", text)


def decode_leniently(text: str, decode: Callable[[str], ValueT]) -> tuple[str, ValueT]:
    """Return a text and its decoded value; without trailing commas, if `decode` rejects it with them.

    Raises:
        JsonError: It is not valid without them either; the message has the position in the original.
    """
    try:
        return text, decode(text)
    except JsonError as error:
        repaired = without_trailing_commas(text)
        if repaired == text:
            raise
        try:
            return repaired, decode(repaired)
        except JsonError:
            raise error from None


def check_depth(text: str, most: int = MAX_DEPTH) -> None:
    """Check the depth of a text before a recursive decoder reads it.

    Raises:
        TooDeep: The text is nested more than `most` levels deep.
    """
    if exceeds_depth(text, most):
        raise TooDeep(_too_deep(most))


def check_not_excessive(text: str) -> None:
    """Check that a text that is too deep is worth reading on, to find what else is wrong with it.

    Raises:
        TooDeep: It is far too deep, or too deep and far too long.
    """
    if is_excessive(text):
        raise TooDeep(_too_deep(MAX_DEPTH))


def check_values(text: str, most: int = MAX_VALUES) -> None:
    """Check the number of values of a text before a decoder reads it.

    Raises:
        TooManyValues: The text has more than `most` members and elements.
    """
    if exceeds_values(text, most):
        raise TooManyValues(f"has more than {most} members and elements, which is the limit")


def blank_below(text: str, most: int) -> str:
    """Return the text with spaces instead of everything inside brackets of the level `most`.

    A recursive decoder can read the rest, at any depth, and all positions stay the same. A bracket that is
    not closed is cut off.
    """
    if text.count("{") + text.count("[") < most:
        return text
    pieces, kept, depth = [], 0, 0
    for match in STRING_OR_BRACKET.finditer(text):
        if match[0] in "[{":
            depth += 1
            if depth == most:
                pieces.append(text[kept : match.end()])
                kept = match.end()
        elif match[0] in "]}":
            if depth == most:
                pieces.append(" " * (match.start() - kept))
                kept = match.start()
            depth -= 1
    return "".join(pieces) + (text[kept:] if depth < most else "")


def _too_deep(most: int) -> str:
    return f"is nested deeper than {most} levels, which is the limit"


def type_name(value: object) -> str:
    """Return the JSON type of a decoded value, with an article."""
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array"}
    return names.get(type(value), "an object")


def _check_escapes(value: Any) -> None:
    """Reject escapes of characters that no text can contain: NUL and halves of surrogate pairs."""
    if isinstance(value, str):
        found = _UNPRINTABLE.search(value)
        if found:
            raise JsonError(f"contains the character U+{ord(found[0]):04X}, which is not allowed in text")
    elif isinstance(value, dict):
        for name, member in value.items():
            _check_escapes(name)
            _check_escapes(member)
    elif isinstance(value, list):
        for member in value:
            _check_escapes(member)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        [(duplicate, _)] = Counter(name for name, _ in pairs).most_common(1)
        name = f'the name "{duplicate}"' if _HARMLESS_NAME.fullmatch(duplicate) else "a name"
        raise JsonError(f"contains {name} twice in one object")
    return members


def _integer(digits: str) -> int:
    try:
        return int(digits)
    except ValueError as error:
        most = sys.get_int_max_str_digits()
        raise JsonError(f"contains a number of {len(digits)} digits, at most {most} are allowed") from error


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise JsonError("contains a number beyond 1.8e308, the largest allowed")
    return value


def _constant(name: str) -> float:
    raise JsonError(f"is not valid JSON: {name} is not a JSON value")


_decoder = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)
