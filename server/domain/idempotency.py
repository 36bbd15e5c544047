"""Idempotency: a caller's key, and the fingerprint of the trigger that it was used for."""

from __future__ import annotations

import hashlib
from operator import attrgetter
from typing import Any, Self

import msgspec

from .canonical_json import canonical
from .trigger import JSON_OBJECTS, Trigger

__all__ = ["NOT_CONTENT", "IdempotencyKey", "fingerprint", "fingerprint_as_written"]

_OF_TESTS = "test\t"
"""Precedes the keys of tests, so that a live call never gets the ID of a test. No caller's key has a tab."""

NOT_CONTENT = frozenset({"id", "project_id", "traceparent", "key_id", "accepted_at", "test"})
"""Fields of a trigger that may differ between two calls with the same key. All others are content."""
_CONTENT = [name for name in Trigger.__struct_fields__ if name not in NOT_CONTENT]
# Stored fingerprints must keep matching. The fields up to `event` are hashed by position; a field that was
# added later is only hashed if it is set, so triggers without it keep their fingerprint.
_FIRST = _CONTENT[: _CONTENT.index("event") + 1]
_ADDED = _CONTENT[len(_FIRST) :]
_first_values = attrgetter(*_FIRST)
_WITHOUT_SECRETS = dict.fromkeys(("address", *JSON_OBJECTS), "")
_defaults: dict[str, Any] = {
    field.name: field.default for field in msgspec.structs.fields(Trigger) if field.name in _ADDED
}


class IdempotencyKey(msgspec.Struct, frozen=True, gc=False):
    """A caller's idempotency key with the fingerprint of the trigger that it was used for."""

    key: str
    content: bytes

    @classmethod
    def of(cls, key: str, trigger: Trigger) -> Self:
        """Return the key as it is stored with a trigger."""
        return cls(_OF_TESTS + key if trigger.test else key, fingerprint(trigger))

    def is_same_call(self, trigger: Trigger, stored: bytes) -> bool:
        """Return whether a stored fingerprint matches the trigger that was sent with this key."""
        return stored == self.content or stored == fingerprint_as_written(trigger)


def fingerprint(trigger: Trigger) -> bytes:
    """Return the SHA-256 of a trigger's content, which must be equal in all calls with the same key.

    JSON objects are compared by value, because many callers rebuild a retry from unordered maps. A one-time
    code could be guessed from a hash, even a keyed one whose key is in the same database. So what `retain`
    removes is not hashed.
    """
    if trigger.retain:
        return fingerprint_as_written(msgspec.structs.replace(trigger, **_WITHOUT_SECRETS))
    objects = {name: canonical(text) for name in JSON_OBJECTS if (text := getattr(trigger, name))}
    return fingerprint_as_written(msgspec.structs.replace(trigger, **objects) if objects else trigger)


def fingerprint_as_written(trigger: Trigger) -> bytes:
    """Return the fingerprint that compares JSON byte by byte, as stored by servers before release 0.2."""
    added = [
        _named(name, value)
        for name, default in _defaults.items()
        if (value := getattr(trigger, name)) != default
    ]
    return hashlib.sha256(msgspec.json.encode((*_first_values(trigger), *added))).digest()


def _named(name: str, value: object) -> object:
    """Return a later field's value with its name, so that equal values of different fields are distinct.

    `send_at` was the first such field, and is hashed without its name.
    """
    return value if name == "send_at" else {name: value}
