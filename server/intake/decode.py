"""The fast decoders: a JSON body or a typed message becomes a flat struct, or None if it is unusual.

Decoded is what msgspec can check at once: known fields of the right type that satisfy the rules in the
protos, with JSON objects that hold no nested values. None means nothing but that `validate` has to look: the
body may be wrong, or valid and unusual.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import astuple

from ..domain.campaign import Channel
from .contract import BODY_FIELDS, OBJECTS, REQUEST_FIELDS, USER_FIELDS, USER_FIELDS_OF, Kind, struct_of
from .typed import TYPED, TriggerRequest, channel_of

__all__ = ["decode_body", "decode_item", "decode_message"]

_Flat: TypeAlias = dict[str, str | int | float | bool | None]
Body: TypeAlias = Any
"""A struct with the fields of a request: `user` with its own fields, `event` and so on. A field that is
missing is an empty string; JSON objects are msgspec.Raw from JSON, and text from a message."""
# Escapes of what no text can carry: NUL, and halves of surrogate pairs, whole pairs included.
_ODD_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_BACKSLASH = ord("\\")  # looking for a byte takes a quarter of the time of looking for bytes
_JSON_TYPES = {Kind.TEXT: str, Kind.OBJECT: msgspec.Raw, Kind.TIME: str, Kind.INTEGER: int}
_MESSAGE_TYPES = {**_JSON_TYPES, Kind.OBJECT: str}


_USER = struct_of("User", USER_FIELDS, _JSON_TYPES)
_BODY = struct_of("Body", BODY_FIELDS, {**_JSON_TYPES, Kind.USER: _USER})
_ITEM = struct_of("Item", REQUEST_FIELDS, {**_JSON_TYPES, Kind.USER: _USER})
_LIMITS = tuple(OBJECTS.values())
_objects_of: Callable[[Body], tuple[Any, ...]] = operator.attrgetter(*OBJECTS)
_EMPTY: _Flat = {}
_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # the last: nested very deeply
_flat_decoder = msgspec.json.Decoder(_Flat)
_body_decoder = msgspec.json.Decoder(_BODY)
_item_decoder = msgspec.json.Decoder(_ITEM)


def _message_struct(channel: Channel) -> Any:
    """Return the struct of a channel's typed request, without `send_at`: its presence needs a call."""
    user = struct_of("User", USER_FIELDS_OF[channel], _MESSAGE_TYPES)
    fields = {name: field for name, field in REQUEST_FIELDS.items() if field.kind is not Kind.TIME}
    return struct_of("Message", fields, {**_MESSAGE_TYPES, Kind.USER: user})


_MESSAGES = {channel: _message_struct(channel) for channel in TYPED}


def decode_body(data: bytes) -> Body | None:
    """Decode the body of a REST call."""
    return _decode(_body_decoder, data)


def decode_item(data: bytes) -> Body | None:
    """Decode an item of a REST batch."""
    return _decode(_item_decoder, data)


def decode_message(request: TriggerRequest) -> Body | None:
    """Decode a typed request, but for its `send_at`."""
    try:
        body = msgspec.convert(request, _MESSAGES[channel_of(request)], from_attributes=True)
    except msgspec.ValidationError:
        return None
    for text, limit in zip(_objects_of(body), _LIMITS, strict=True):
        if text and not _is_flat(text.encode(), limit):
            return None
    return body


def _decode(decoder: msgspec.json.Decoder[Any], data: bytes) -> Body | None:
    try:
        body = decoder.decode(data)
        raws = _objects_of(body)
        objects = [_flat_decoder.decode(raw) if raw else _EMPTY for raw in raws]
    except _UNDECODABLE:
        return None
    if any(map(operator.gt, map(len, raws), _LIMITS)):
        return None
    members = astuple(body) + astuple(body.user)
    names = len(members) - members.count("") + sum(map(len, objects))
    if data.count(b":") == names and _BACKSLASH not in data:  # as in nearly all
        return body
    return body if _has_unique_names(data, names, members, *objects) else None


def _is_flat(data: bytes, limit: int) -> bool:
    """Return whether JSON is an object without nested values, duplicate names and unusual escapes."""
    try:
        members = _flat_decoder.decode(data)
    except _UNDECODABLE:
        return False
    return len(data) <= limit and _has_unique_names(data, len(members), (), members)


def _has_unique_names(data: bytes, names: int, members: Iterable[object], *objects: _Flat) -> bool:
    """Return whether JSON certainly has no duplicate name and no escape of what no text can carry.

    Decoding keeps one of two members with the same name. So if there are as many colons outside strings as
    names were decoded, none is duplicate. Colons inside strings can be counted if nothing is escaped.

    Args:
        data: The JSON.
        names: How many names were decoded, in all objects.
        members: The values whose strings were part of the JSON.
        objects: Objects whose names and values were part of it.
    """
    escaped = _BACKSLASH in data
    if escaped and _ODD_ESCAPE.search(data):
        return False
    colons = data.count(b":")
    if colons == names or escaped:
        return colons == names
    inside = (value for one in objects for value in (*one, *one.values()))
    return colons == names + _colons(members) + _colons(inside)


def _colons(values: Iterable[object]) -> int:
    return sum(value.count(":") for value in values if isinstance(value, str))
