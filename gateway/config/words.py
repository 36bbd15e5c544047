"""Tables for `words.lua`, which rewrites enum values and 64-bit integers in REST responses.

REST shows an enum value as the word that webhooks, the client and the command line use: its name without the
name of the enum, in lower case.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, EnumValueDescriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

from .contract import Contract, descriptor_path

__all__ = ["tables"]

_INTEGERS = {FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT64}
_WELL_KNOWN = "google.protobuf."  # these types have a special form in JSON


def tables(contract: Contract) -> str:
    """Return the Lua tables of the fields in responses.

    `WORDS` has the words of enum values by field and name; `INTEGERS` and `INTEGER_LISTS` have the fields
    that hold 64-bit integers.
    """
    pool = _pool()
    methods = [method for name in contract.services for method in pool.FindServiceByName(name).methods]
    answers = list(_fields({method.output_type for method in methods}))
    words: dict[str, Any] = {}
    for field, value in _enum_values(answers):
        words.setdefault(field.name, {})[value.name] = _word(value)
    integers = [field for field in answers if field.type in _INTEGERS]
    named = {
        "WORDS": words,
        "INTEGERS": {field.name: True for field in integers if not field.is_repeated},
        "INTEGER_LISTS": {field.name: True for field in integers if field.is_repeated},
    }
    return "".join(f"local {name} = {_lua(table)}\n" for name, table in named.items())


def _pool() -> DescriptorPool:
    """Return the descriptors of the built protos."""
    pool = DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_path().read_bytes()).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


def _fields(messages: Iterable[Descriptor]) -> Iterator[FieldDescriptor]:
    """Yield the fields of messages and of the messages in them."""
    waiting = list(messages)
    seen = set(waiting)
    while waiting:
        for field in waiting.pop().fields:
            yield field
            inner = field.message_type
            if inner and inner not in seen and not inner.full_name.startswith(_WELL_KNOWN):
                seen.add(inner)
                waiting.append(inner)


def _enum_values(fields: Iterable[FieldDescriptor]) -> Iterator[tuple[FieldDescriptor, EnumValueDescriptor]]:
    for field in fields:
        for value in field.enum_type.values if field.enum_type else ():
            yield field, value


def _word(value: EnumValueDescriptor) -> str:
    """Return `dead` for `DELIVERY_STATE_DEAD` of the enum `DeliveryState`."""
    prefix = value.type.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return value.name.removeprefix(prefix).lower()


def _lua(value: Any) -> str:
    """Return a table of strings, booleans and tables in Lua."""
    if isinstance(value, dict):
        members = (f'["{name}"] = {_lua(one)}' for name, one in sorted(value.items()))
        return f"{{{', '.join(members)}}}"
    return str(value).lower() if isinstance(value, bool) else f'"{value}"'
