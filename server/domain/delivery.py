"""Deliveries: claims, attempts, and where a delivery stands."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from dataclasses import dataclass

from .campaign import Channel
from .trigger import Trigger

__all__ = ["Attempt", "AttemptOutcome", "Claim", "Delivery", "DeliveryState", "Finished"]


class AttemptOutcome(enum.StrEnum):
    """How one attempt ended."""

    DELIVERED = "delivered"
    RETRY = "retry"
    DEAD = "dead"
    LOST = "lost"


class DeliveryState(enum.StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    SENDING = "sending"
    RETRYING = "retrying"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Claim:
    """A trigger that this dispatcher holds under a lease, for attempt number `attempt` (from 1)."""

    trigger: Trigger
    attempt: int
    provider: str
    leased_until: dt.datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to hand a message to a provider, as recorded. Duration in seconds."""

    number: int
    provider: str
    outcome: AttemptOutcome
    started_at: dt.datetime
    duration: float
    provider_message_id: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a claim's attempt: what to record, and when to try again (outcome RETRY only)."""

    claim: Claim
    attempt: Attempt
    retry_in: float | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """A trigger's way to its recipient, as shown to people."""

    trigger_id: uuid.UUID
    project_id: int
    campaign_id: int
    channel: Channel
    external_id: str
    state: DeliveryState
    accepted_at: dt.datetime
    next_attempt_at: dt.datetime | None
    attempts: tuple[Attempt, ...]
