"""Examples of the admin API's requests and responses, derived from the examples of their fields."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from .described import ADMIN, Described, example_of, examples_of, is_always_present
from .rules import rules_of
from .schemas import word_of

__all__ = ["Examples"]

UUID = "0d1f3c52-7a52-4e0c-9d44-0b6f6f0c8d11"
WELL_KNOWN = {
    "google.protobuf.Timestamp": "2026-11-23T01:36:58.210Z",
    "google.protobuf.Duration": "3600s",
    "google.protobuf.FieldMask": "",
}
TEXTS = {
    "created_by": "key deploy robot",
    "display_name": "deploy robot",
    "chosen_locale": "default",
    "kind": "robot",
    "message_state": "delivered",
    "providers": "smtp, backup",
    "type": "trigger.delivered",
    "etag": "7b1c4e02a9d5",
    "secret": f"ak_{UUID}",
    "secret_hint": "ak_0d1f…8d11",
    "token": f"as_{UUID}",
}
"""Texts of responses that no request has, by name of the field."""
MAX_DEPTH = 4


class Examples:
    """Derives examples from the option `example`, also from that of another field with the same name.

    Args:
        described: The admin API.
    """

    def __init__(self, described: Described) -> None:
        self._by_name: dict[str, Any] = {}
        for file in described.files:
            if file.package == ADMIN:
                for message in file.message_types_by_name.values():
                    for name, value in examples_of(message).items():
                        self._by_name.setdefault(name, value[0] if isinstance(value, list) else value)

    def request(self, message: Descriptor) -> dict[str, Any]:
        """Return the example of a request: what is required, and what has an example."""
        fields = [field for field in message.fields if rules_of(field).required or _is_shown(field)]
        return {field.name: self._value(field, 0) for field in fields if field.name not in {"page_token"}}

    def response(self, message: Descriptor, depth: int = 0) -> dict[str, Any]:
        """Return the example of a response: what is always present, and its lists and objects."""
        fields = [
            field
            for field in message.fields
            if is_always_present(field)
            or rules_of(field).required
            or "minItems" in rules_of(field).keywords
            or (depth == 0 and field.message_type is not None)
        ]
        return {field.name: self._value(field, depth) for field in fields if depth < MAX_DEPTH}

    def _value(self, field: FieldDescriptor, depth: int) -> Any:
        one = self._one(field, depth)
        return [one] if field.is_repeated and not isinstance(one, list) else one

    def _one(self, field: FieldDescriptor, depth: int) -> Any:
        if _is_shown(field) and not field.is_repeated:
            return example_of(field)
        if field.message_type is not None:
            known = WELL_KNOWN.get(field.message_type.full_name)
            return self.response(field.message_type, depth + 1) if known is None else known
        if field.enum_type is not None:
            return word_of(field.enum_type.values[1])
        if field.cpp_type != FieldDescriptor.CPPTYPE_STRING:
            return field.cpp_type == FieldDescriptor.CPPTYPE_BOOL or rules_of(field).keywords.get(
                "minimum", 1
            )
        if _is_shown(field):
            return example_of(field)[0]
        return self._text(field)

    def _text(self, field: FieldDescriptor) -> str:
        name = field.name
        one_of = rules_of(field).keywords.get("enum")
        if one_of:
            return str(one_of[0])
        if name in TEXTS:
            return TEXTS[name]
        if name in self._by_name:
            return str(self._by_name[name])
        return UUID if name.endswith("_id") else "…"


def _is_shown(field: FieldDescriptor) -> bool:
    try:
        example_of(field)
    except LookupError:
        return False
    return True
