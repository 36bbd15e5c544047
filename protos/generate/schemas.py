"""Converts messages and enums to the JSON Schema of their JSON, as Envoy's transcoder reads and writes it.

This is proto3 JSON with the field names of the protos, without empty fields. The gateway writes 64-bit
integers as numbers and enum values as words (gateway/config/words.py).
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, EnumValueDescriptor, FieldDescriptor

from .described import Described, is_always_present
from .rules import rules_of

__all__ = ["Schema", "Schemas", "ref"]

Schema = dict[str, Any]

INT32: Schema = {"type": "integer", "format": "int32"}
SCALARS: dict[int, Schema] = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_INT32: INT32,
    FieldDescriptor.TYPE_UINT32: {"type": "integer", "format": "uint32", "minimum": 0},
    FieldDescriptor.TYPE_INT64: {"type": "integer", "format": "int64"},
    FieldDescriptor.TYPE_UINT64: {"type": "integer", "format": "uint64", "minimum": 0},
}
WELL_KNOWN: dict[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
    "google.protobuf.FieldMask": {"type": "string"},  # names, joined by commas
    "google.protobuf.Struct": {"type": "object"},
    "google.rpc.Status": {"$ref": "#/components/schemas/Status"},  # as in errors: see responses.py
}
OF_NUMBERS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}


def ref(name: str, kind: str = "schemas") -> Schema:
    """Return a reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


class Schemas:
    """Collects `components/schemas` as schemas of messages are requested."""

    def __init__(self, described: Described) -> None:
        """Start without components.

        Args:
            described: The source of the comments.
        """
        self._described = described
        self.components: dict[str, Schema] = {}
        self._owners: dict[str, str] = {}

    def message(self, message: Descriptor) -> Schema:
        """Return the schema of a message, which is a reference except for well-known types."""
        if message.full_name in WELL_KNOWN:
            return dict(WELL_KNOWN[message.full_name])
        self._own(message)
        if message.name not in self.components:
            self.components[message.name] = {}  # breaks the recursion if a message contains itself
            self.components[message.name] = self._object(message)
        return ref(message.name)

    def field(self, field: FieldDescriptor) -> Schema:
        """Return the schema of a field with its rules and its comment."""
        rules = rules_of(field)
        one = self._one(field)
        schema = {"type": "array", "items": one} if field.is_repeated else one
        texts = schema.get("type") == "string"
        keywords = {name: rule for name, rule in rules.keywords.items() if not (texts and name in OF_NUMBERS)}
        return {**schema, **keywords, "description": self._described.comment(field)}

    def _object(self, message: Descriptor) -> Schema:
        properties = {field.name: self.field(field) for field in message.fields}
        required = [
            field.name for field in message.fields if rules_of(field).required or is_always_present(field)
        ]
        described = {"type": "object", "description": self._described.comment(message)}
        return {**described, "properties": properties, **({"required": required} if required else {})}

    def _one(self, field: FieldDescriptor) -> Schema:
        """Return the schema of a field's value, or of its items."""
        if field.enum_type is not None:
            return self._enum(field.enum_type)
        if field.message_type is None:
            return dict(SCALARS[field.type])
        if field.message_type.GetOptions().map_entry:
            raise NotImplementedError(f"{field.full_name}: maps are not supported; add them to schemas.py")
        return self.message(field.message_type)

    def _enum(self, enum: EnumDescriptor) -> Schema:
        """Return a reference to an enum's names, without the first, which proto3 JSON omits."""
        self._own(enum)
        if enum.name not in self.components:
            values = [value for value in enum.values if value.number]
            meanings = [f"- `{word_of(value)}`: {self._meaning(value)}" for value in values]
            self.components[enum.name] = {
                "type": "string",
                "description": "\n".join([self._described.comment(enum), "", *meanings]),
                "enum": [word_of(value) for value in values],
            }
        return ref(enum.name)

    def _own(self, kind: Descriptor | EnumDescriptor) -> None:
        """Check that a component's name belongs to one message or enum."""
        if self._owners.setdefault(kind.name, kind.full_name) != kind.full_name:
            raise NotImplementedError(f"{kind.full_name}: one document also has {self._owners[kind.name]}")

    def _meaning(self, value: EnumValueDescriptor) -> str:
        return self._described.comment(value).replace(f"{value.name} ", f"`{word_of(value)}` ")


def word_of(value: EnumValueDescriptor) -> str:
    """Return the word of an enum value: `dead` for `DELIVERY_STATE_DEAD`."""
    prefix = value.type.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return value.name.removeprefix(prefix).lower()
