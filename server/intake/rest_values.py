"""Reads the value of one proto field from a query parameter or from JSON, and words what is wrong with it.

Enum values may be written as in responses (`dead`) or by their full name (`DELIVERY_STATE_DEAD`).
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message_factory import GetMessageClass

from ..domain.wording import quoted
from ..errors import Violation
from .explain import wrong_type

__all__ = ["WELL_KNOWN", "from_json", "from_text"]

WELL_KNOWN = frozenset(
    f"google.protobuf.{name}"
    for name in (
        *("Any", "Duration", "Empty", "FieldMask", "ListValue", "Struct", "Timestamp", "Value"),
        *("BoolValue", "BytesValue", "DoubleValue", "FloatValue", "StringValue"),
        *("Int32Value", "Int64Value", "UInt32Value", "UInt64Value"),
    )
)
"""The messages that have their own form in JSON (https://protobuf.dev/programming-guides/json/)."""
_NUMBERS = {"an integer", "a number"}
_INTEGER = re.compile("-?[0-9]{1,20}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,3})?", re.ASCII)
_MASK = re.compile(r"([a-z][a-z0-9_.]*(,[a-z][a-z0-9_.]*)*)?", re.ASCII)
_F = FieldDescriptor
_SIGNED = {_F.TYPE_INT32: 32, _F.TYPE_SINT32: 32, _F.TYPE_SFIXED32: 32}
_SIGNED |= {_F.TYPE_INT64: 64, _F.TYPE_SINT64: 64, _F.TYPE_SFIXED64: 64}
_UNSIGNED = {_F.TYPE_UINT32: 32, _F.TYPE_FIXED32: 32, _F.TYPE_UINT64: 64, _F.TYPE_FIXED64: 64}
_FLOATS = {_F.TYPE_DOUBLE, _F.TYPE_FLOAT}
_BOOLEANS = {"true": True, "false": False}
_EXAMPLES: Mapping[str, str] = {
    "Timestamp": "an RFC 3339 time such as 2026-12-24T18:00:00Z",
    "Duration": "a duration in seconds, such as 1.5s",
    "FieldMask": "names of fields, separated by commas",
}


def from_text(field: FieldDescriptor, path: str, text: str) -> Any:
    """Return the value that a query parameter states for a field, or what is wrong with it.

    Args:
        field: The field. It holds no message, except one of `WELL_KNOWN`.
        path: How the caller names it.
        text: The decoded text.
    """
    if field.message_type:
        value = _well_known(field.message_type, path, text)
        has_lost_plus = isinstance(value, Violation) and " " in text
        return replace(value, description=f"{value.description}; write + as %2B") if has_lost_plus else value
    if field.type in _FLOATS and _NUMBER.fullmatch(text):
        return _float(field, path, float(text))
    if field.type == _F.TYPE_BOOL:
        value = _BOOLEANS.get(text)
        return _wrong(path, "true or false", text) if value is None else value
    return _of_text(field, path, text)


def from_json(field: FieldDescriptor, path: str, value: object) -> Any:
    """Return the value that JSON states for a field, or what is wrong with it.

    Args:
        field: The field. It holds no message, except one of `WELL_KNOWN`.
        path: How the caller names it.
        value: The decoded JSON.
    """
    if field.message_type:
        return _well_known(field.message_type, path, value)
    is_boolean = field.type == _F.TYPE_BOOL
    if isinstance(value, str) and not is_boolean:
        return _of_text(field, path, value)
    if isinstance(value, bool) and is_boolean:
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and _json_type(field) in _NUMBERS:
        return _number(field, path, value)
    return wrong_type(path, _json_type(field), value)


def _json_type(field: FieldDescriptor) -> str:
    """Return the JSON type of a field, with an article."""
    if field.type == _F.TYPE_BOOL:
        return "a boolean"
    return "a number" if field.type in _FLOATS else "an integer" if _range(field) else "a string"


def _of_text(field: FieldDescriptor, path: str, text: str) -> Any:
    """Return the value that a query parameter or a JSON string states."""
    if field.type == _F.TYPE_STRING:
        return text
    if field.enum_type:
        return _enum(field.enum_type, path, text)
    if field.type == _F.TYPE_BYTES:
        return _bytes(path, text)
    if field.type in _FLOATS:
        return _wrong(path, "a number", text)
    return _integer(field, path, int(text)) if _INTEGER.fullmatch(text) else _no_integer(field, path, text)


def _bytes(path: str, text: str) -> bytes | Violation:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # including binascii.Error
        return Violation(path, "must be base64", "INVALID_FORMAT")


def _number(field: FieldDescriptor, path: str, number: float) -> float | Violation:
    if field.type in _FLOATS:
        return _float(field, path, float(number))
    is_whole = isinstance(number, int) or number.is_integer()
    return _integer(field, path, int(number)) if is_whole else _no_integer(field, path, str(number))


def _enum(enum: EnumDescriptor, path: str, text: str) -> int | Violation:
    words = {_word_of(enum, value.name): value.number for value in enum.values if value.number}
    names = {value.name: value.number for value in enum.values}
    number = words.get(text, names.get(text))
    if number is None:
        description = f"must be one of {', '.join(words)}, found {quoted(text)}"
        return Violation(path, description, "UNKNOWN_VALUE")
    return int(number)


def _word_of(enum: EnumDescriptor, name: str) -> str:
    """Return `dead` for `DELIVERY_STATE_DEAD` of the enum `DeliveryState`."""
    prefix: str = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return name.removeprefix(prefix).lower()


def _well_known(kind: Descriptor, path: str, value: Any) -> Any:
    """Return a message of a type with its own form in JSON, such as a timestamp."""
    try:
        if kind.full_name == FieldMask.DESCRIPTOR.full_name:
            return _field_mask(value)
        return json_format.ParseDict(value, GetMessageClass(kind)())
    except (json_format.ParseError, TypeError, ValueError, AttributeError):
        expected = _EXAMPLES.get(kind.name, f"a {kind.name}")
        return _wrong(path, expected, value) if isinstance(value, str) else wrong_type(path, expected, value)


def _field_mask(text: str) -> FieldMask:
    """Return the mask that a text states. Its names are those of the contract, unlike in the JSON of proto3.

    Raises:
        ValueError: The text is not a mask.
        TypeError: It is not a text.
    """
    if not _MASK.fullmatch(text):
        raise ValueError(text)
    return FieldMask(paths=text.split(",") if text else ())


def _range(field: FieldDescriptor) -> tuple[int, int] | None:
    """Return the smallest and the largest value of an integer field."""
    if field.type in _SIGNED:
        half = 1 << _SIGNED[field.type] - 1
        return -half, half - 1
    return (0, (1 << _UNSIGNED[field.type]) - 1) if field.type in _UNSIGNED else None


def _integer(field: FieldDescriptor, path: str, number: int) -> int | Violation:
    least, most = _range(field) or (0, 0)
    return number if least <= number <= most else _no_integer(field, path, str(number))


def _no_integer(field: FieldDescriptor, path: str, found: str) -> Violation:
    least, most = _range(field) or (0, 0)
    return _wrong(path, f"an integer from {least} to {most}", found)


def _float(field: FieldDescriptor, path: str, number: float) -> float | Violation:
    most = 3.4028234663852886e38 if field.type == _F.TYPE_FLOAT else math.inf
    if math.isfinite(number) and abs(number) <= most:
        return number
    return _wrong(path, "a number that the field can hold", str(number))


def _wrong(path: str, expected: str, found: str) -> Violation:
    format_is_wrong = not expected.startswith(("an integer", "a number", "true"))
    reason = "INVALID_FORMAT" if format_is_wrong else "WRONG_TYPE"
    return Violation(path, f"must be {expected}, found {quoted(found)}", reason)
