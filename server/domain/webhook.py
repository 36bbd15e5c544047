"""Webhooks: endpoints of projects, their secrets, and the messages that tell them of events."""

from __future__ import annotations

import base64
import datetime as dt
import enum
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from .campaign import RetryPolicy
from .delivery import Attempt, Finished

__all__ = [
    "DEFAULT_OVERLAP",
    "ENDPOINTS_AT_MOST",
    "POLICY",
    "TEST",
    "Endpoint",
    "EndpointState",
    "EventType",
    "Logged",
    "MessageState",
    "Posted",
    "Secrets",
    "Target",
    "WebhookClaim",
    "lane_of",
    "new_secret",
]

ENDPOINTS_AT_MOST = 10
"""Of one project."""
DEFAULT_OVERLAP = "24h"
"""For which the secret before a rotation signs too."""
TEST = "webhook.test"
"""The type of the event that `clarion webhooks test` sends, whatever the endpoint hears otherwise."""
POLICY = RetryPolicy(max_attempts=15, first_delay=5.0, factor=3.0, max_delay=21_600.0, ttl=259_200.0)
"""Up to 5 s, then up to 6 h between attempts, with full jitter: 20 hours in all on average, 41 at most.

While an endpoint's breaker is open nothing is attempted, so messages also end after three days."""

_SECRET_BYTES = 32


class EventType(enum.StrEnum):
    """What endpoints are told of."""

    DELIVERED = "trigger.delivered"
    DEAD = "trigger.dead"
    SUPPRESSED = "trigger.suppressed"
    CANCELLED = "trigger.cancelled"


class EndpointState(enum.StrEnum):
    """Whether an endpoint is sent anything."""

    ACTIVE = "active"
    DISABLED = "disabled"


class MessageState(enum.StrEnum):
    """Where a message to an endpoint stands."""

    PENDING = "pending"
    SENDING = "sending"
    RETRYING = "retrying"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A URL of a project that hears of events, without its secrets."""

    id: uuid.UUID
    project: str
    url: str
    events: tuple[EventType, ...]
    state: EndpointState
    created_at: dt.datetime
    disabled_because: str = ""
    previous_until: dt.datetime | None = None
    """Until when the secret before the last rotation signs too."""

    def __repr__(self) -> str:
        """Leave out the URL: its query may hold a secret, and a repr ends in logs."""
        return f"Endpoint({self.id}, {self.state})"


@dataclass(frozen=True, slots=True, repr=False)
class Secrets:
    """What an endpoint's messages are signed with. It has no repr: that would end in logs."""

    current: str
    previous: str = ""
    previous_until: dt.datetime | None = None

    def at(self, now: dt.datetime) -> Sequence[str]:
        """Return the secrets that sign at `now`, the current one first."""
        overlaps = self.previous and self.previous_until is not None and now < self.previous_until
        return (self.current, self.previous) if overlaps else (self.current,)


@dataclass(frozen=True, slots=True, repr=False)
class Target:
    """An active endpoint as its messages need it. No repr, for the same reason."""

    url: str
    secrets: Secrets


@dataclass(frozen=True, slots=True)
class WebhookClaim:
    """A message that this dispatcher holds under a lease, for attempt number `attempt` (from 1)."""

    id: uuid.UUID
    endpoint_id: uuid.UUID
    type: str
    body: str
    attempt: int
    earlier: int = 0
    """Attempts before somebody had it sent again: they are on record, but count for no policy."""
    expires_at: dt.datetime | None = None

    @property
    def provider(self) -> str:
        """The endpoint: it has slots and a breaker of its own, as a provider has."""
        return str(self.endpoint_id)

    @property
    def lane(self) -> str:
        """The endpoint's lane."""
        return lane_of(self.provider)

    @property
    def tries(self) -> int:
        """The number of this attempt since the event, or since somebody had it sent again."""
        return self.attempt - self.earlier


@dataclass(frozen=True, slots=True)
class Posted(Finished[WebhookClaim]):
    """A finished attempt that got an answer: its HTTP status, and how its body begins."""

    status: int = 0
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Logged:
    """One attempt as the delivery log has it, or a message without any. Duration in seconds."""

    message_id: uuid.UUID
    endpoint_id: uuid.UUID
    type: str
    trigger_id: uuid.UUID | None
    created_at: dt.datetime
    state: MessageState
    next_attempt_at: dt.datetime | None
    attempt: Attempt | None
    status: int | None = None
    answer: str = ""


def lane_of(endpoint: str) -> str:
    """Return the lane of an endpoint, by its id."""
    return f"webhook/{endpoint}"


def new_secret() -> str:
    """Return a new secret in the form of Standard Webhooks."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()}"
