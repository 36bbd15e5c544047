"""Completes the message of a REST call from its query and its JSON body.

Envoy's transcoder rejects a wrong query in its own words, and drops unknown fields of a JSON body silently.
So it converts only the path. The query arrives in a header (`gateway/config/queries.lua`), and a body for an
ordinary message arrives as it was sent, in the field RAW_BODY, which `protos/generate/raw_bodies.py` adds for
the gateway. Here, both are decoded by the descriptor of the message, and every violation is named at once.

A method needs only its `google.api.http` option for this. Variables in its path must be strings, and its body
must be `"*"`. A field that was set by the path cannot be set again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from google.api import httpbody_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet

from ..errors import InvalidRequest, Violation
from . import strict_json
from .explain import type_problem, wrong_type
from .rest_values import WELL_KNOWN, from_json, from_text

__all__ = ["QUERY", "RAW_BODY", "complete"]

QUERY = "x-clarion-query"
"""The header with the query of a REST call, still percent-encoded, without its question mark."""
RAW_BODY = 536_870_911
"""The field with the JSON body of a REST call: the largest number that a field can have."""
_AS_TEXT = {f"google.protobuf.{name}" for name in ("Duration", "FieldMask", "Timestamp")}
_LENGTH_DELIMITED = 2  # the wire type of messages: https://protobuf.dev/programming-guides/encoding/
_TAG = b"\xfa\xff\xff\xff\x0f"  # how RAW_BODY begins on the wire: (number << 3 | wire type) as a varint


def complete(message: Any, raw: bytes, query: str | None) -> None:
    """Add the query and the body of a REST call to its message. Does nothing for a gRPC call.

    Args:
        message: What `raw` contains, with the variables of the path.
        raw: The message as it was received.
        query: The value of the header QUERY, if the call has it.

    Raises:
        InvalidRequest: The query or the body is invalid; every violation is included.
    """
    violations: list[Violation] = []
    in_path = {field.name for field, _ in message.ListFields()} if query or _TAG in raw else set()
    if query:
        violations += _add_query(message, query, in_path)
    body = _raw_body(message) if _TAG in raw else None
    if body:
        message.DiscardUnknownFields()
        violations += _add_body(message, body, in_path)
    if violations:
        raise InvalidRequest(violations)


def _raw_body(message: Message) -> bytes | None:
    unknown: Any = UnknownFieldSet(message)  # its .pyi file lacks __iter__
    fields = [
        one.data for one in unknown if (one.field_number, one.wire_type) == (RAW_BODY, _LENGTH_DELIMITED)
    ]
    return httpbody_pb2.HttpBody.FromString(fields[-1]).data if fields else None


def _add_query(message: Any, query: str, in_path: Collection[str]) -> Iterator[Violation]:
    seen: set[str] = set()
    for pair in query.split("&"):
        if not pair:
            continue
        name, text = (_decoded(part) for part in (pair.partition("=")[0], pair.partition("=")[2]))
        field = message.DESCRIPTOR.fields_by_name.get(name)
        if name is None or text is None:
            yield Violation(name or "query", "is not UTF-8 in percent-encoding", "INVALID_FORMAT")
        elif field is None or not _fits_query(field):
            yield Violation(name, f"is not a parameter of this call{_hint(message, name)}", "UNKNOWN_FIELD")
        elif name in in_path:
            yield Violation(name, "is part of the path; omit it from the query", "UNKNOWN_FIELD")
        elif name in seen and not field.is_repeated:
            yield Violation(name, "is given more than once; send it once", "INVALID_FORMAT")
        else:
            yield from _set(message, field, from_text(field, name, text))
        seen.add(name or "")


def _decoded(text: str) -> str | None:
    """Return a part of a query without its percent-encoding, or None if it is not UTF-8."""
    try:
        return unquote_to_bytes(text.replace("+", " ")).decode()
    except UnicodeDecodeError:
        return None


def _fits_query(field: FieldDescriptor) -> bool:
    """Return whether a text can state a value of the field."""
    return field.message_type is None or field.message_type.full_name in _AS_TEXT


def _hint(message: Message, name: str) -> str:
    similar = message.DESCRIPTOR.fields_by_camelcase_name.get(name)
    return f"; did you mean {similar.name}?" if similar else ""


def _add_body(message: Any, body: bytes, in_path: Collection[str]) -> Iterator[Violation]:
    try:
        text = strict_json.text_of(body)
        strict_json.check_values(text)
        value = strict_json.decode(text)
    except strict_json.JsonError as error:
        yield Violation("", str(error), error.reason)
        return
    if isinstance(value, dict):
        yield from _add_object(message, value, "", in_path)
    else:
        yield Violation("", type_problem("a JSON object", value), "WRONG_TYPE")


def _add_object(
    message: Any, members: Mapping[str, Any], prefix: str, in_path: Collection[str] = ()
) -> Iterator[Violation]:
    """Add the members of a JSON object to a message. null means absent, as in the JSON of proto3."""
    for name, value in members.items():
        path, field = prefix + name, message.DESCRIPTOR.fields_by_name.get(name)
        if field is None:
            yield Violation(path, f"is not a field of this call{_hint(message, name)}", "UNKNOWN_FIELD")
        elif name in in_path:
            yield Violation(path, "is part of the path; omit it from the body", "UNKNOWN_FIELD")
        elif value is None:
            continue
        elif field.containing_oneof and message.WhichOneof(field.containing_oneof.name):
            other = message.WhichOneof(field.containing_oneof.name)
            yield Violation(path, f"cannot be combined with {prefix}{other}", "INVALID_FORMAT")
        elif field.message_type and field.message_type.GetOptions().map_entry:
            yield from _add_map(message, field, path, value)
        elif field.is_repeated:
            yield from _add_list(message, field, path, value)
        else:
            yield from _add_value(message, field, path, value)


def _add_value(message: Any, field: FieldDescriptor, path: str, value: object) -> Iterator[Violation]:
    if not _has_fields(field):
        yield from _set(message, field, from_json(field, path, value))
    elif isinstance(value, dict):
        inner = getattr(message, field.name)
        inner = inner.add() if field.is_repeated else inner
        if not field.is_repeated:
            inner.SetInParent()  # an empty object is not an absent one
        yield from _add_object(inner, value, f"{path}.")
    else:
        yield wrong_type(path, "an object", value)


def _add_list(message: Any, field: FieldDescriptor, path: str, value: object) -> Iterator[Violation]:
    if not isinstance(value, list):
        yield wrong_type(path, "an array", value)
        return
    for index, element in enumerate(value):
        yield from _add_value(message, field, f"{path}[{index}]", element)


def _add_map(message: Any, field: FieldDescriptor, path: str, value: object) -> Iterator[Violation]:
    """Add an object whose names are the keys of a map, which are strings in all our protos."""
    if not isinstance(value, dict):
        yield wrong_type(path, "an object", value)
        return
    assert field.message_type is not None  # noqa: S101 - the type of a map's entries
    entry = GetMessageClass(field.message_type)
    target = getattr(message, field.name)
    for name, member in value.items():
        made: Any = entry(key=name)
        wrong = list(_add_value(made, made.DESCRIPTOR.fields_by_name["value"], f"{path}.{name}", member))
        yield from wrong
        if wrong:
            continue
        if isinstance(made.value, Message):
            target[name].CopyFrom(made.value)
        else:
            target[name] = made.value


def _has_fields(field: FieldDescriptor) -> bool:
    """Return whether a field holds a message with fields, rather than a value with its own form in JSON."""
    return field.message_type is not None and field.message_type.full_name not in WELL_KNOWN


def _set(message: Any, field: FieldDescriptor, value: Any) -> Iterator[Violation]:
    """Set or append a value, or yield it if it is a violation."""
    if isinstance(value, Violation):
        yield value
    elif field.is_repeated:
        getattr(message, field.name).append(value)
    elif field.message_type:
        getattr(message, field.name).CopyFrom(value)
    else:
        setattr(message, field.name, value)
