"""API keys: `sk_` or `sk_test_` and a UUID, stored as a SHA-256, with scopes and an expiry time."""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
import re
import uuid
from dataclasses import dataclass

from .limit import NO_OWN_LIMIT, OwnLimit

__all__ = [
    "ApiKey",
    "KeyState",
    "Scope",
    "hash_secret",
    "hint_of",
    "is_test_secret",
    "new_secret",
    "secret_from_header",
]


class Scope(enum.StrEnum):
    """What a key may do."""

    TRIGGER = "trigger"
    DELIVERIES_READ = "deliveries.read"
    CAMPAIGNS_READ = "campaigns.read"
    KEYS_MANAGE = "keys.manage"


class KeyState(enum.StrEnum):
    """Whether a key works, and for how long."""

    ACTIVE = "active"
    EXPIRING = "expiring"
    """It expires within `WARNING`."""
    EXPIRED = "expired"
    REVOKED = "revoked"


WARNING = dt.timedelta(days=7)
_PREFIX, _TEST_PREFIX = "sk_", "test_"
_HINT_END = 4


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret. An empty `campaign_ids` means all of the project's campaigns."""

    id: uuid.UUID
    project_id: int
    name: str
    scopes: frozenset[Scope]
    created_at: dt.datetime
    campaign_ids: frozenset[int] = frozenset()
    expires_at: dt.datetime | None = None
    revoked_at: dt.datetime | None = None
    limit: OwnLimit = NO_OWN_LIMIT
    hint: str = ""
    """How the secret begins and ends; empty if an older version created the key."""
    created_by: str = ""
    successor_id: uuid.UUID | None = None
    """The key that replaces this one."""
    certificates: tuple[str, ...] = ()
    """The certificates with which callers need no secret (server/domain/certificate.py), sorted."""
    test: bool = False
    """Whether it is a test key: messages that it triggers are never sent."""

    def state_at(self, now: dt.datetime) -> KeyState:
        """Return the state of the key at `now`."""
        if self.revoked_at is not None:
            return KeyState.REVOKED
        if self.expires_at is None or self.expires_at > now + WARNING:
            return KeyState.ACTIVE
        return KeyState.EXPIRING if self.expires_at > now else KeyState.EXPIRED

    def works_at(self, now: dt.datetime) -> bool:
        """Return whether the key is neither revoked nor expired at `now`."""
        if self.revoked_at is not None:
            return False
        return self.expires_at is None or now < self.expires_at

    def may_trigger(self, campaign_id: int) -> bool:
        """Return whether this key may trigger the campaign."""
        return not self.campaign_ids or campaign_id in self.campaign_ids


_HEADER = re.compile(
    r"bearer +(sk_(?:test_)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}) *", re.IGNORECASE
)


def new_secret(*, test: bool = False) -> str:
    """Return a new secret with 122 random bits."""
    return f"{_PREFIX}{_TEST_PREFIX if test else ''}{uuid.uuid4()}"


def is_test_secret(secret: str) -> bool:
    """Return whether a secret is that of a test key."""
    return secret.startswith(_PREFIX + _TEST_PREFIX)


def hint_of(secret: str) -> str:
    """Return how a secret begins and ends, by which people recognise it."""
    prefix, _, _ = secret.rpartition("_")
    return f"{prefix}_…{secret[-_HINT_END:]}"


def hash_secret(secret: str) -> bytes:
    """Return the hash that is stored. Secrets are random, so a slow hash would not make them safer."""
    return hashlib.sha256(secret.encode()).digest()


def secret_from_header(header: str) -> str | None:
    """Return the secret of `Bearer sk_…` (the scheme in any case), or None if malformed."""
    match = _HEADER.fullmatch(header)
    return match[1] if match else None
