"""Deliveries: claims, attempts, and the state of a delivery.

What each attempt creates is a msgspec struct, because creating a frozen dataclass takes ten times as long.
"""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol

import msgspec
from typing_extensions import TypeVar

from .campaign import Campaign, Channel
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
    "HttpReply",
    "Leased",
    "Moved",
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
    IN_DOUBT = "in_doubt"


class DeliveryState(enum.StrEnum):
    """The state of a delivery."""

    PENDING = "pending"
    SENDING = "sending"
    RETRYING = "retrying"
    DELIVERED = "delivered"
    DEAD = "dead"
    SUPPRESSED = "suppressed"
    CANCELLED = "cancelled"

    @property
    def is_end(self) -> bool:
        """Whether the state is final, unless an operator intervenes."""
        return self not in _OPEN


_OPEN = {DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.RETRYING}


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """A request for up to `slots` claims from a lane, to be sent through `provider`."""

    lane: str
    provider: str
    slots: int


class Leased(Protocol):
    """A trigger or webhook message that a dispatcher holds under a lease."""

    @property
    def id(self) -> uuid.UUID:
        """The ID in the queue."""
        ...

    @property
    def attempt(self) -> int:
        """The number of the attempt that it was claimed for, from 1."""
        ...

    @property
    def tries(self) -> int:
        """The number of this attempt since acceptance or the last redrive, from 1."""
        ...

    @property
    def doubts(self) -> int:
        """The number of earlier attempts since acceptance or the last redrive that ended in doubt."""
        ...

    @property
    def may_have_arrived(self) -> bool:
        """Whether an earlier attempt was lost or ended in doubt."""
        ...

    @property
    def provider(self) -> str:
        """The name of the provider, or the ID of the endpoint, that it is sent to."""
        ...

    @property
    def lane(self) -> str:
        """The lane that it was claimed from."""
        ...


class Claim(msgspec.Struct, frozen=True):
    """A trigger that this dispatcher holds under a lease, for attempt number `attempt` (from 1)."""

    trigger: Trigger
    attempt: int
    provider: str
    leased_until: dt.datetime
    lane: str = ""
    earlier: int = 0
    """Attempts before the last redrive; the retry policy does not count them."""
    expires_at: dt.datetime | None = None
    suppressed: str = ""
    """Why the recipient is suppressed; empty if it is not."""
    doubts: int = 0
    """Earlier attempts since the last redrive that ended in doubt."""
    may_have_arrived: bool = False
    """Whether any earlier attempt was lost or ended in doubt."""
    content: Campaign | None = None
    """What an author sends as a test; None for the campaign in force."""

    @property
    def id(self) -> uuid.UUID:
        """The trigger's ID."""
        return self.trigger.id

    @property
    def tries(self) -> int:
        """The number of this attempt since acceptance or the last redrive, from 1."""
        return self.attempt - self.earlier


class Attempt(msgspec.Struct, frozen=True):
    """One recorded attempt to send a message. `duration` is in seconds."""

    number: int
    provider: str
    outcome: AttemptOutcome
    started_at: dt.datetime
    duration: float
    provider_message_id: str = ""
    error: str = ""
    campaign_version: int | None = None
    """The version of the campaign that it used; None if there was nothing to render."""
    reached_provider: bool = True
    """False if it ended before the provider was called, so that it says nothing about the provider."""


ClaimT = TypeVar("ClaimT", bound=Leased, default=Claim)


@dataclass(frozen=True, slots=True)
class HttpReply:
    """An HTTP reply as the delivery log keeps it: the status and the start of the body."""

    status: int
    text: str = ""


class Finished(msgspec.Struct, Generic[ClaimT], frozen=True):
    """A finished attempt: what to record, and when to retry."""

    claim: ClaimT
    attempt: Attempt
    retry_in: float | None = None
    """Seconds until the next attempt (outcomes RETRY, LOST and IN_DOUBT), or None."""
    refusal: str = ""
    """The provider's message if it permanently refused the recipient, who is then suppressed."""
    reply: HttpReply | None = None
    """An endpoint's reply to a webhook message."""


class Released(msgspec.Struct, Generic[ClaimT], frozen=True):
    """A claim released without an attempt; it is due again after `wait` seconds."""

    claim: ClaimT
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Moved:
    """The result of a search for triggers to move to another lane: `count` were moved."""

    count: int
    at: dt.datetime
    """The database's time of the search."""
    reached: dt.datetime | None
    """When the last of the moved triggers was due; None if none was moved."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The state and history of a trigger, as shown to users."""

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
    key_id: uuid.UUID | None = None
    """The API key that it was accepted with."""
    cancelled_at: dt.datetime | None = None
    test: bool = False
    """Whether a test key triggered it."""


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Selects the triggers of a project to list. All conditions must match; None matches everything."""

    campaign_id: int | None = None
    external_id: str | None = None
    state: DeliveryState | None = None
    since: dt.datetime | None = None
    before: dt.datetime | None = None
    test: bool | None = None


@dataclass(frozen=True, slots=True)
class WatchFilter:
    """Selects the triggers of a project to watch. All conditions must match; None matches everything."""

    campaign_id: int | None = None
    external_id: str | None = None
    trigger_ids: tuple[uuid.UUID, ...] | None = None
    test: bool | None = None


class Position(NamedTuple):
    """A position in the log of changes: the transaction, and within it the trigger and its attempt."""

    xid: int
    trigger_id: uuid.UUID = uuid.UUID(int=0)
    number: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """A changed delivery and its position in the log."""

    delivery: Delivery
    position: Position


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes in the order of the log, and the position up to which it was read."""

    changes: tuple[Change, ...]
    reached: Position
