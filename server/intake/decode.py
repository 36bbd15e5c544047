"""The fast decoders: a JSON body or a typed message becomes a flat struct, or None if it is unusual.

Decoded is what msgspec can check at once: known fields of the right type that satisfy the rules in the
protos, with JSON objects that hold no nested values. None means nothing but that `validate` has to look: the
body may be wrong, or valid and unusual.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from ..domain.campaign import Channel
from ..domain.json_limits import MAX_VALUES
from .contract import (
    BODY_FIELDS,
    OBJECTS,
    REQUEST_FIELDS,
    USER_FIELDS,
    USER_FIELDS_OF,
    Kind,
    ProtoField,
    struct_of,
)
from .typed import TYPED, TriggerRequest, channel_of

__all__ = ["decode_body", "decode_item", "decode_message"]

_Flat: TypeAlias = dict[str, str | int | float | bool | None]
Body: TypeAlias = Any
"""A struct with the fields of a request: `user` with its own fields, `event` and so on. A field that is
missing is an empty string; JSON objects are msgspec.Raw from JSON, and text from a message."""
# Escapes of what no text can carry, NUL and halves of surrogate pairs; and of colons, for `_kept_all`.
_ODD_ESCAPE = re.compile(rb"\\u(?:00(?:00|3[aA])|[dD][89a-fA-F])")
_BACKSLASH = ord("\\")  # looking for a byte takes a quarter of the time of looking for bytes
_NULL = b"null"
_JSON_TYPES = {Kind.TEXT: str, Kind.OBJECT: msgspec.Raw, Kind.TIME: str, Kind.INTEGER: int}
_MESSAGE_TYPES = {**_JSON_TYPES, Kind.OBJECT: str}


class _Form:
    """The structs of a JSON body: the usual one, and one for bodies with null for fields that are absent."""

    def __init__(self, fields: Mapping[str, ProtoField]) -> None:
        """Make the structs of these fields."""
        self._struct, decode = self._of(fields, nullable=False)
        _, decode_nulls = self._of(fields, nullable=True)
        self.decode, self.decode_nulls = decode, decode_nulls

    @staticmethod
    def _of(fields: Mapping[str, ProtoField], *, nullable: bool) -> tuple[Any, Callable[[bytes], Body]]:
        user = struct_of("User", USER_FIELDS, _JSON_TYPES, nullable=nullable)
        struct = struct_of("Body", fields, {**_JSON_TYPES, Kind.USER: user}, nullable=nullable)
        return struct, msgspec.json.Decoder(struct).decode

    def without_nulls(self, body: Body) -> Body:
        """Return a body with nulls in the usual struct."""
        return self._struct(**{**_set_fields(body), "user": _USER(**_set_fields(body.user))})


def _set_fields(struct: Any) -> dict[str, Any]:
    """Return the fields of a struct that are not null."""
    fields = ((name, getattr(struct, name)) for name in struct.__struct_fields__)
    return {
        name: value
        for name, value in fields
        if value is not None and not (type(value) is msgspec.Raw and bytes(value) == _NULL)
    }


_USER = struct_of("User", USER_FIELDS, _JSON_TYPES)
_BODY, _ITEM = _Form(BODY_FIELDS), _Form(REQUEST_FIELDS)
# The most bytes of an object. Where limits differ, `validate` looks at those between the two.
_MAX_OBJECT = min(OBJECTS.values())
_objects_of: Callable[[Body], tuple[Any, ...]] = operator.attrgetter(*OBJECTS)
_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # the last: nested very deeply
_flat_decoder = msgspec.json.Decoder(_Flat)
_encode = msgspec.json.Encoder().encode


def _message_struct(channel: Channel) -> Any:
    """Return the struct of a channel's typed request, without `send_at`: its presence needs a call."""
    user = struct_of("User", USER_FIELDS_OF[channel], _MESSAGE_TYPES)
    fields = {name: field for name, field in REQUEST_FIELDS.items() if field.kind is not Kind.TIME}
    return struct_of("Message", fields, {**_MESSAGE_TYPES, Kind.USER: user})


_MESSAGES = {channel: _message_struct(channel) for channel in TYPED}


def decode_body(data: bytes) -> Body | None:
    """Decode the body of a REST call."""
    return _decode(_BODY, data)


def decode_item(data: bytes) -> Body | None:
    """Decode an item of a REST batch."""
    return _decode(_ITEM, data)


def decode_message(request: TriggerRequest) -> Body | None:
    """Decode a typed request, but for its `send_at`."""
    try:
        body = msgspec.convert(request, _MESSAGES[channel_of(request)], from_attributes=True)
    except msgspec.ValidationError:
        return None
    for text in _objects_of(body):
        if text and not _is_flat(text.encode()):
            return None
    return body


def _decode(form: _Form, data: bytes) -> Body | None:
    try:
        body = form.decode(data)
        if _kept_all(data, body) and _has_flat_objects(body):
            return body
    except _UNDECODABLE:
        pass
    return _decode_nulls(form, data) if _NULL in data else None  # most have none; searching takes time


def _decode_nulls(form: _Form, data: bytes) -> Body | None:
    """Decode a body with a null, which the usual struct does not have."""
    try:
        body = form.decode_nulls(data)
    except _UNDECODABLE:
        return None
    if not _kept_all(data, body):
        return None
    body = form.without_nulls(body)
    return body if _has_flat_objects(body) else None


def _has_flat_objects(body: Body) -> bool:
    for raw in _objects_of(body):  # noqa: SIM110 - a generator would take longer
        if raw and not _is_flat(bytes(raw)):
            return False
    return True


def _is_flat(data: bytes) -> bool:
    """Return whether JSON is a short object without nested values, duplicate names and unusual escapes."""
    if len(data) > _MAX_OBJECT:
        return False
    try:
        members = _flat_decoder.decode(data)
        return len(members) <= MAX_VALUES and _kept_all(data, members)
    except _UNDECODABLE:
        return False


def _kept_all(data: bytes, decoded: object) -> bool:
    """Return whether all members of JSON were decoded, and it has no escape of what no text can carry.

    Decoding drops one of two members with the same name, and with it at least one colon. So there is no
    duplicate if what was decoded has as many colons as the JSON, unless a string has an escaped colon.
    """
    if _BACKSLASH in data and _ODD_ESCAPE.search(data):
        return False
    return data.count(b":") == _encode(decoded).count(b":")
