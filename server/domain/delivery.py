"""Deliveries: claims, attempts, and where a delivery stands."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol

from typing_extensions import TypeVar

from .campaign import Channel
from .trigger import Trigger

__all__ = [
    "Attempt",
    "AttemptOutcome",
    "Change",
    "Changes",
    "Claim",
    "ClaimRequest",
    "ClaimT",
    "Delivery",
    "DeliveryFilter",
    "DeliveryState",
    "Finished",
    "Leased",
    "Position",
    "Released",
    "WatchFilter",
]


class AttemptOutcome(enum.StrEnum):
    """How one attempt ended."""

    DELIVERED = "delivered"
    RETRY = "retry"
    DEAD = "dead"
    LOST = "lost"
    SUPPRESSED = "suppressed"


class DeliveryState(enum.StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    SENDING = "sending"
    RETRYING = "retrying"
    DELIVERED = "delivered"
    DEAD = "dead"
    SUPPRESSED = "suppressed"
    CANCELLED = "cancelled"

    @property
    def is_end(self) -> bool:
        """Whether nothing more happens by itself."""
        return self not in _UNDER_WAY


_UNDER_WAY = {DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.RETRYING}


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """What may be claimed of a lane now: up to `slots` triggers, to be sent by `provider`."""

    lane: str
    provider: str
    slots: int


class Leased(Protocol):
    """Something that a dispatcher holds under a lease, to be sent: a trigger, or a webhook's message."""

    @property
    def id(self) -> uuid.UUID:
        """What the queue knows it by."""
        ...

    @property
    def attempt(self) -> int:
        """The number of the attempt that it is held for, from 1."""
        ...

    @property
    def provider(self) -> str:
        """Through what it is sent."""
        ...

    @property
    def lane(self) -> str:
        """The lane that it was claimed of."""
        ...


@dataclass(frozen=True, slots=True)
class Claim:
    """A trigger that this dispatcher holds under a lease, for attempt number `attempt` (from 1)."""

    trigger: Trigger
    attempt: int
    provider: str
    leased_until: dt.datetime
    lane: str = ""
    earlier: int = 0
    """Attempts before the last redrive: they are on record, but count for no policy."""
    expires_at: dt.datetime | None = None
    suppressed: str = ""
    """Why nothing is sent to this recipient any more, if so."""

    @property
    def id(self) -> uuid.UUID:
        """The trigger's id."""
        return self.trigger.id

    @property
    def tries(self) -> int:
        """The number of this attempt since the trigger was accepted, or redriven."""
        return self.attempt - self.earlier


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


ClaimT = TypeVar("ClaimT", bound=Leased, default=Claim)


@dataclass(frozen=True, slots=True)
class Finished(Generic[ClaimT]):
    """The end of a claim's attempt: what to record, and when to try again (outcome RETRY only)."""

    claim: ClaimT
    attempt: Attempt
    retry_in: float | None = None
    refusal: str = ""
    """The provider's words if it refused the recipient for good: nobody writes to them again."""


@dataclass(frozen=True, slots=True)
class Released(Generic[ClaimT]):
    """A claim given back undone: no attempt is counted, and it is due again after `wait` seconds."""

    claim: ClaimT
    wait: float = 0.0


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
    send_at: dt.datetime | None = None
    cancelled_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which triggers of a project a list shows: those to which all of it applies; None applies to all."""

    campaign_id: int | None = None
    external_id: str | None = None
    state: DeliveryState | None = None
    since: dt.datetime | None = None
    before: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class WatchFilter:
    """Which triggers of a project are followed: those to which all of it applies; None applies to all."""

    campaign_id: int | None = None
    external_id: str | None = None
    trigger_ids: tuple[uuid.UUID, ...] | None = None


class Position(NamedTuple):
    """A place in the log of changes: the transaction, and within it the trigger and its attempt."""

    xid: int
    trigger_id: uuid.UUID = uuid.UUID(int=0)
    number: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """A delivery that changed, and where in the log."""

    delivery: Delivery
    position: Position


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed, in the order of the log, and how far it was read for that."""

    changes: tuple[Change, ...]
    reached: Position
