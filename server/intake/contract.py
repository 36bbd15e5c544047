"""The fields of a trigger and the rules on them, as the proto descriptors state them.

The decoders and checks of the intake are derived from here, so that each field and each rule is written once,
in `clarion/v1/trigger.proto`. A field or rule that cannot be translated stops the import.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import msgspec
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from buf.validate import validate_pb2
from clarion.v1 import options_pb2
from clarion.v1 import trigger_pb2 as pb

from ..channels import BY_ADDRESS_FIELD
from ..domain.campaign import Channel
from .typed import TYPED

__all__ = [
    "BODY_FIELDS",
    "MAX_CAMPAIGN_ID",
    "MAX_TRIGGERS",
    "OBJECTS",
    "REQUEST_FIELDS",
    "USER_FIELDS",
    "USER_FIELDS_OF",
    "Kind",
    "ProtoField",
    "rules_of",
    "struct_of",
]

MAX_CAMPAIGN_ID = 2**63 - 1
"""The largest int64."""
_RULES: Any = validate_pb2.field  # its .pyi file predates typed extensions
_JSON_OBJECT: Any = options_pb2.json_object
_OUTSIDE_BODY = {"campaign_id", "request_id"}
"""Fields that a REST call sends elsewhere: in the path and in the header `idempotency-key`."""


class Kind(enum.Enum):
    """What a field holds."""

    TEXT = enum.auto()
    OBJECT = enum.auto()
    """A JSON object: as text in a message, as the object itself in a REST body."""
    TIME = enum.auto()
    INTEGER = enum.auto()
    USER = enum.auto()


class ProtoField(NamedTuple):
    """A field of a trigger request, or of its user."""

    name: str
    kind: Kind
    required: bool
    rules: Mapping[str, Any]
    """The rules on it, as arguments of msgspec.Meta. `max_length` of an object is in bytes."""


def rules_of(field: Any) -> Any:
    """Return the `buf.validate` rules on a field."""
    return field.GetOptions().Extensions[_RULES]


def _python_pattern(regex: str) -> str:
    """Return an RE2 pattern for Python, where `$` would also match before a final line break."""
    return "(?a)" + (regex[:-1] + r"\Z" if regex.endswith("$") else regex)


_TRANSLATED: Mapping[str, Callable[[Any], tuple[str, Any]]] = {
    "min_len": lambda least: ("min_length", least),
    "max_len": lambda most: ("max_length", most),
    # Characters are counted, which have up to four bytes each. Between a quarter of the limit and the limit
    # itself, protovalidate decides.
    "max_bytes": lambda most: ("max_length", most // 4),
    "pattern": lambda regex: ("pattern", _python_pattern(regex)),
    "gt": lambda bound: ("gt", bound),
}


def _translated(field: FieldDescriptor, kind: Kind) -> dict[str, Any]:
    required = rules_of(field).required
    rules: dict[str, Any] = {"min_length": 1} if required and kind is Kind.TEXT else {}
    for group, value in rules_of(field).ListFields():
        for rule, bound in () if group.name == "required" else value.ListFields():
            if rule.name not in _TRANSLATED:
                raise NotImplementedError(f"{field.full_name}: add the rule {rule.name} to contract.py")
            name, limit = _TRANSLATED[rule.name](bound)
            if kind is Kind.OBJECT:
                limit = bound
            rules[name] = min(limit, rules.get(name, limit)) if name == "max_length" else limit
    return rules


def _kind(field: FieldDescriptor) -> Kind:
    if field.name == "user":
        return Kind.USER
    if field.type == FieldDescriptor.TYPE_STRING:
        return Kind.OBJECT if field.GetOptions().Extensions[_JSON_OBJECT] else Kind.TEXT
    if field.type == FieldDescriptor.TYPE_INT64:
        return Kind.INTEGER
    if field.message_type and field.message_type.full_name == Timestamp.DESCRIPTOR.full_name:
        return Kind.TIME
    raise NotImplementedError(f"{field.full_name}: add fields of this type to contract.py")


def _fields(message: Descriptor) -> dict[str, ProtoField]:
    found = {}
    for field in message.fields:
        kind, required = _kind(field), rules_of(field).required
        found[field.name] = ProtoField(field.name, kind, required, _translated(field, kind))
    return found


def _joined(tables: list[dict[str, ProtoField]]) -> Mapping[str, ProtoField]:
    """Join the fields of all channels. Only what every channel requires is required.

    Raises:
        NotImplementedError: A field other than an address is not in all channels, or with different rules.
    """
    joined: dict[str, ProtoField] = {}
    for table in tables:
        for name, field in table.items():
            if joined.setdefault(name, field) != field:
                raise NotImplementedError(f"{name}: its rules differ between channels")
    for name in joined.keys() - BY_ADDRESS_FIELD.keys():
        if not all(name in table for table in tables):
            raise NotImplementedError(f"{name}: add the field to the messages of every channel")
    return {
        name: field._replace(required=field.required and all(name in table for table in tables))
        for name, field in joined.items()
    }


_REQUESTS = {channel: call.request.DESCRIPTOR for channel, call in TYPED.items()}
USER_FIELDS_OF: Mapping[Channel, Mapping[str, ProtoField]] = {
    channel: _fields(request.fields_by_name["user"].message_type) for channel, request in _REQUESTS.items()
}
"""The fields of the typed request's user, by channel."""
USER_FIELDS = _joined([dict(fields) for fields in USER_FIELDS_OF.values()])
"""The fields of `user` in a REST body: those of all channels together."""
REQUEST_FIELDS = _joined([_fields(request) for request in _REQUESTS.values()])
"""The fields of a typed request."""
BODY_FIELDS = {name: field for name, field in REQUEST_FIELDS.items() if name not in _OUTSIDE_BODY}
"""The fields of a REST body."""
OBJECTS: Mapping[str, int] = {
    prefix + field.name: field.rules["max_length"]
    for prefix, fields in (("user.", USER_FIELDS), ("", BODY_FIELDS))
    for field in fields.values()
    if field.kind is Kind.OBJECT
}
"""The paths of JSON objects in a request, with the most bytes that each may have."""
MAX_TRIGGERS: int = rules_of(pb.BatchTriggerRequest.DESCRIPTOR.fields_by_name["triggers"]).repeated.max_items
"""Items of a batch, at most."""


def struct_of(
    name: str, fields: Mapping[str, ProtoField], types: Mapping[Kind, Any], *, nullable: bool = False
) -> Any:
    """Return a msgspec struct that decodes these fields and refuses what breaks their rules.

    A field that is missing is an empty string, whatever its type.

    Args:
        name: The name of the struct.
        fields: The fields to decode.
        types: The type of each kind of field. The rules are added to those of texts and integers.
        nullable: Whether fields that are not required may be None.
    """
    members: list[Any] = []
    for field in sorted(fields.values(), key=lambda one: not one.required):
        decoded = types[field.kind]
        if field.kind in {Kind.TEXT, Kind.INTEGER}:
            decoded = Annotated[decoded, msgspec.Meta(**field.rules)]
        if nullable and not field.required and decoded is not msgspec.Raw:  # null is a Raw value, too
            decoded |= None
        members.append((field.name, decoded) if field.required else (field.name, decoded, ""))
    return msgspec.defstruct(
        name, members, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False
    )
