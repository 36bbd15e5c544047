"""Messages → requests, and how many requests fit in one call."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeAlias, Union

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from clarion.v1 import options_pb2
from clarion.v1 import trigger_pb2 as pb

from .arguments import checked_integer, checked_moment, checked_text
from .messages import Json, Message

__all__ = ["Prepared", "portion", "prepare", "prepare_all"]

# Limits of a batch in the contract: 1,000 items and 2 MiB, less some room for the framing of each item.
_MAX_ITEMS = 1000
_MAX_DEPTH = 32  # levels of a JSON object
_MAX_BYTES = 2_000_000
_FRAME_BYTES = 8
# A single call has a lower limit (256 KiB) than a batch. Larger messages are sent in single calls, so that
# they fail in the same way whether or not they were sent as part of a batch.
_MAX_BYTES_IN_BATCH = 200_000

Converter: TypeAlias = Callable[[str, Any], Any]
Form: TypeAlias = Mapping[str, Union[Converter, "Form"]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message as a request."""

    channel: str
    """The item's one field, such as `email`."""
    method: str
    """The method of TriggerService that accepts the request alone."""
    item: pb.BatchItem
    size: int
    """Bytes that the item adds to a batch."""

    @property
    def request(self) -> Any:
        """The typed request, for a single call."""
        return getattr(self.item, self.channel)

    @property
    def request_id(self) -> str:
        """The idempotency key, the same for all attempts."""
        return str(self.request.request_id)


def prepare(message: Message) -> Prepared:
    """Return the message as a request.

    Raises:
        TypeError: A field has the wrong type, or holds values that JSON does not have.
        ValueError: A field has a value that cannot be sent.
    """
    channel = type(message).__name__.lower()
    if not isinstance(message, Message) or channel not in _CHANNELS:
        names = ", ".join(name.capitalize() for name in _CHANNELS)
        raise TypeError(f"must be one of {names}, not {type(message).__name__}")
    method, form = _CHANNELS[channel]
    item = pb.BatchItem(**{channel: _convert(message, form)})
    if not message.request_id:
        raise ValueError("request_id: must not be empty; omit it to have one generated")
    return Prepared(channel, method, item, item.ByteSize() + _FRAME_BYTES)


def prepare_all(messages: Iterable[Message]) -> list[Prepared]:
    """Return the messages as requests.

    Raises:
        TypeError: As `prepare`, with the message's index.
        ValueError: As `prepare`, with the message's index.
    """
    if not isinstance(messages, Iterable):
        raise TypeError(f"messages: must be a list or another iterable, not {type(messages).__name__}")
    return [_prepare_at(index, message) for index, message in enumerate(messages)]


def portion(sizes: Iterable[int]) -> int:
    """Return how many of the first requests to send in the next call, at least one.

    Args:
        sizes: Bytes of each pending request, at least one.
    """
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if count and (count == _MAX_ITEMS or total > _MAX_BYTES or size > _MAX_BYTES_IN_BATCH):
            return count
        if size > _MAX_BYTES_IN_BATCH:
            return 1
    return count + 1


def _prepare_at(index: int, message: Message) -> Prepared:
    try:
        return prepare(message)
    except TypeError as error:
        raise TypeError(f"messages[{index}]: {error}") from None
    except ValueError as error:
        raise ValueError(f"messages[{index}]: {error}") from None


def _convert(message: Message, form: Form) -> dict[str, Any]:
    """Return the fields of a request, or of its user, without optional fields that are None."""
    return {
        name: one(name, getattr(message, name)) if callable(one) else _convert(message, one)
        for name, one in form.items()
        if not (name in _OPTIONAL and getattr(message, name) is None)
    }


def _json(name: str, given: Json) -> str:
    """Return JSON text. Text is returned unchanged, because the server explains what is wrong with it."""
    if isinstance(given, str):
        return checked_text(name, given)
    if not isinstance(given, Mapping):
        raise TypeError(f"{name}: must be a mapping or JSON text, not {type(given).__name__}")
    try:
        text = json.dumps(dict(given), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        deep = text.count("{") + text.count("[") > _MAX_DEPTH and _is_deeper(given, _MAX_DEPTH)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None
    except RecursionError:
        deep = True  # Python's limit differs by version, but is far above ours
    except ValueError as error:  # NaN, infinity, or a circular reference
        raise ValueError(f"{name}: {error}") from None
    if deep:
        raise ValueError(f"{name}: is nested deeper than {_MAX_DEPTH} levels, which is the limit")
    return checked_text(name, text)


def _is_deeper(value: object, most: int) -> bool:
    """Return whether a value has more than `most` levels of mappings and lists."""
    if not isinstance(value, Mapping | list | tuple):
        return False
    inner = value.values() if isinstance(value, Mapping) else value
    return most == 0 or any(_is_deeper(one, most - 1) for one in inner)


_OPTIONAL = frozenset(field.name for field in fields(Message) if field.default is None)
_JSON_OBJECT: Any = options_pb2.json_object
_CONVERTERS: dict[int, Converter] = {
    FieldDescriptor.CPPTYPE_STRING: checked_text,
    FieldDescriptor.CPPTYPE_INT64: checked_integer,
}


def _form(request: Descriptor) -> Form:
    """Return what converts each field of a request; a KeyError means that its type needs a converter."""
    return {field.name: _converter(field) for field in request.fields}


def _converter(field: FieldDescriptor) -> Converter | Form:
    if field.message_type is not None:
        is_moment = field.message_type.full_name == Timestamp.DESCRIPTOR.full_name
        return checked_moment if is_moment else _form(field.message_type)
    if field.GetOptions().Extensions[_JSON_OBJECT]:
        return _json
    return _CONVERTERS[field.cpp_type]


def _channels() -> dict[str, tuple[str, Form]]:
    """Return each channel's method and form, by the name of its field in BatchItem."""
    file: Any = pb.DESCRIPTOR
    methods = {one.input_type.name: one.name for one in file.services_by_name["TriggerService"].methods}
    items = file.message_types_by_name["BatchItem"].oneofs_by_name["trigger"].fields
    return {item.name: (methods[item.message_type.name], _form(item.message_type)) for item in items}


_CHANNELS = _channels()
