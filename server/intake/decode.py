"""The fast decoders: a JSON body or a typed message becomes a flat struct, or None if it is unusual.

Decoded is what msgspec can check at once: known fields of the right type that satisfy the rules in the
protos, with JSON objects that hold no nested values. None means nothing but that `validate` has to look: the
body may be wrong, or valid and unusual.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from ..domain.campaign import Channel
from ..domain.json_limits import MAX_VALUES
from .contract import BODY_FIELDS, OBJECTS, REQUEST_FIELDS, USER_FIELDS, USER_FIELDS_OF, Kind, struct_of
from .typed import TYPED, TriggerRequest, channel_of

__all__ = ["decode_body", "decode_item", "decode_message"]

_Flat: TypeAlias = dict[str, str | int | float | bool | None]
Body: TypeAlias = Any
"""A struct with the fields of a request: `user` with its own fields, `event` and so on. A field that is
missing is an empty string; JSON objects are msgspec.Raw from JSON, and text from a message."""
# Escapes of what no text can carry, NUL and halves of surrogate pairs; and of colons, for `_kept_all`.
_ODD_ESCAPE = re.compile(rb"\\u(?:00(?:00|3[aA])|[dD][89a-fA-F])")
_BACKSLASH = ord("\\")  # looking for a byte takes a quarter of the time of looking for bytes
_JSON_TYPES = {Kind.TEXT: str, Kind.OBJECT: msgspec.Raw, Kind.TIME: str, Kind.INTEGER: int}
_MESSAGE_TYPES = {**_JSON_TYPES, Kind.OBJECT: str}


_USER = struct_of("User", USER_FIELDS, _JSON_TYPES)
_BODY = struct_of("Body", BODY_FIELDS, {**_JSON_TYPES, Kind.USER: _USER})
_ITEM = struct_of("Item", REQUEST_FIELDS, {**_JSON_TYPES, Kind.USER: _USER})
# The most bytes of an object. Where limits differ, `validate` looks at those between the two.
_MAX_OBJECT = min(OBJECTS.values())
_objects_of: Callable[[Body], tuple[Any, ...]] = operator.attrgetter(*OBJECTS)
_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # the last: nested very deeply
_flat_decoder = msgspec.json.Decoder(_Flat)
_body_decoder = msgspec.json.Decoder(_BODY)
_item_decoder = msgspec.json.Decoder(_ITEM)
_encode = msgspec.json.Encoder().encode


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
    for text in _objects_of(body):
        if text and not _is_flat(text.encode()):
            return None
    return body


def _decode(decoder: msgspec.json.Decoder[Any], data: bytes) -> Body | None:
    try:
        body = decoder.decode(data)
    except _UNDECODABLE:
        return None
    if not _kept_all(data, body):
        return None
    for raw in _objects_of(body):
        if raw and not _is_flat(bytes(raw)):
            return None
    return body


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
