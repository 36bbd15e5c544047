"""Webhooks: the endpoints of projects, their secrets, and the messages about events."""

from __future__ import annotations

import base64
import datetime as dt
import enum
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from .campaign import RetryPolicy
from .delivery import Attempt

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
    "Secrets",
    "Target",
    "WebhookClaim",
    "lane_of",
    "new_secret",
]

ENDPOINTS_AT_MOST = 10
"""Maximum number of endpoints of a project."""
DEFAULT_OVERLAP = "24h"
"""How long messages are also signed with the previous secret after a rotation."""
TEST = "webhook.test"
"""The event type that `clarion webhooks test` sends; endpoints receive it without subscribing."""
POLICY = RetryPolicy(max_attempts=15, first_delay=5.0, factor=3.0, max_delay=21_600.0, ttl=259_200.0)
"""Delays with full jitter, from at most 5 s up to at most 6 h: 20 hours in total on average, 41 at most.

No attempts are made while an endpoint's breaker is open, so messages also expire after three days."""

_SECRET_BYTES = 32


class EventType(enum.StrEnum):
    """The events that endpoints can subscribe to."""

    DELIVERED = "trigger.delivered"
    DEAD = "trigger.dead"
    SUPPRESSED = "trigger.suppressed"
    CANCELLED = "trigger.cancelled"


class EndpointState(enum.StrEnum):
    """Whether messages are sent to an endpoint."""

    ACTIVE = "active"
    DISABLED = "disabled"


class MessageState(enum.StrEnum):
    """The state of a message to an endpoint."""

    PENDING = "pending"
    SENDING = "sending"
    RETRYING = "retrying"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A URL of a project that receives events, without its secrets."""

    id: uuid.UUID
    project_id: int
    project: str
    url: str
    events: tuple[EventType, ...]
    state: EndpointState
    created_at: dt.datetime
    disabled_because: str = ""
    previous_until: dt.datetime | None = None
    """When messages stop being signed with the previous secret; None if there is no previous secret."""

    def __repr__(self) -> str:
        """Omit the URL, because its query may contain a secret and a repr may be logged."""
        return f"Endpoint({self.id}, {self.state})"


@dataclass(frozen=True, slots=True, repr=False)
class Secrets:
    """The secrets that sign an endpoint's messages. The repr omits them, because it may be logged."""

    current: str
    previous: str = ""
    previous_until: dt.datetime | None = None

    def at(self, now: dt.datetime) -> Sequence[str]:
        """Return the secrets that are valid at `now`, the current one first."""
        overlaps = self.previous and self.previous_until is not None and now < self.previous_until
        return (self.current, self.previous) if overlaps else (self.current,)


@dataclass(frozen=True, slots=True, repr=False)
class Target:
    """The URL and the secrets of an active endpoint. The repr omits them, because it may be logged."""

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
    """Attempts before the last resend; the retry policy does not count them."""
    expires_at: dt.datetime | None = None
    traceparent: str = ""
    """The trace context of the trigger that the event is about, or empty."""

    @property
    def provider(self) -> str:
        """The endpoint's ID: an endpoint has its own slots and breaker, as a provider does."""
        return str(self.endpoint_id)

    @property
    def lane(self) -> str:
        """The endpoint's lane."""
        return lane_of(self.provider)

    @property
    def doubts(self) -> int:
        """Always 0: receivers recognise a repeated message by its ID, so doubts are not counted."""
        return 0

    @property
    def may_have_arrived(self) -> bool:
        """Always False, for the same reason as `doubts`."""
        return False

    @property
    def tries(self) -> int:
        """The number of this attempt since the event or the last resend, from 1."""
        return self.attempt - self.earlier


@dataclass(frozen=True, slots=True)
class Logged:
    """A row of the delivery log: one attempt, or a message without attempts."""

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
    """Return the lane of the endpoint with this ID."""
    return f"webhook/{endpoint}"


def new_secret() -> str:
    """Return a new secret in the format of Standard Webhooks."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()}"
