"""How the portal shows names of the API: enum values as words, and field names as labels."""

from __future__ import annotations

from typing import Any

__all__ = ["label_of", "provider_of", "word_of"]

_TEST_PROVIDER = "_test"
_WORDS = {"id": "ID", "ids": "IDs", "url": "URL"}
_LABELS = {"error_group": "Error, with # for digits", "external_id": "User"}


def word_of(message: Any, field: str) -> str:
    """Return the word for the enum value in a field, as REST has it, such as `dead`."""
    enum = message.DESCRIPTOR.fields_by_name[field].enum_type
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    known = enum.values_by_number.get(getattr(message, field))
    return str(known.name.removeprefix(prefix).lower()) if known else "unknown"


def provider_of(name: str) -> str:
    """Return what to call a provider. That of tests has an internal name that means nothing to operators."""
    return "test (nothing is sent)" if name == _TEST_PROVIDER else name


def label_of(name: str) -> str:
    """Return the label of a field of the API, such as `Campaign ID` for `campaign_id`."""
    if name in _LABELS:
        return _LABELS[name]
    words = [_WORDS.get(word, word) for word in name.split("_")]
    first = words[0]
    return " ".join([first[:1].upper() + first[1:], *words[1:]])
