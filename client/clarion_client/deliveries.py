"""What became of triggers, as the client shows it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from clarion.v1 import campaign_pb2
from clarion.v1 import delivery_pb2 as pb

__all__ = ["Attempt", "Change", "Delivery", "DeliveryState", "delivery_of", "state_name"]

_STATES = pb.DESCRIPTOR.enum_types_by_name["DeliveryState"]
_OUTCOMES = pb.DESCRIPTOR.enum_types_by_name["AttemptOutcome"]
_CHANNELS = campaign_pb2.DESCRIPTOR.enum_types_by_name["Channel"]


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    """It waits for its first attempt."""
    SENDING = "sending"
    RETRYING = "retrying"
    """It waits for another attempt, after one that failed."""
    DELIVERED = "delivered"
    """The provider has taken it."""
    DEAD = "dead"
    """It was given up."""
    SUPPRESSED = "suppressed"
    """It was not sent: a provider had refused this recipient for good before."""
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    """The server names a state that this client does not know: use a newer one."""

    @property
    def is_end(self) -> bool:
        """Whether nothing follows."""
        return self in _ENDS

    @classmethod
    def _missing_(cls, value: object) -> DeliveryState:
        return cls.UNKNOWN


_ENDS = {
    DeliveryState.DELIVERED,
    DeliveryState.DEAD,
    DeliveryState.SUPPRESSED,
    DeliveryState.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to hand the message to a provider."""

    number: int
    """From 1."""
    provider: str
    outcome: str
    """`delivered`, `retry`, `dead`, `lost` or `suppressed`."""
    started_at: dt.datetime
    seconds: float
    provider_message_id: str
    error: str
    """What went wrong, without the recipient's address."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The way of one trigger to its recipient. Times are in UTC."""

    trigger_id: str
    campaign_id: int
    channel: str
    """`email`, `text` or `push`."""
    external_id: str
    state: DeliveryState
    accepted_at: dt.datetime
    next_attempt_at: dt.datetime | None
    send_at: dt.datetime | None
    """When it was to be sent, if the trigger said so."""
    cancelled_at: dt.datetime | None
    attempts: tuple[Attempt, ...]
    """The first one first."""


@dataclass(frozen=True, slots=True)
class Change:
    """Where a delivery stands since something happened to it."""

    delivery: Delivery
    cursor: str
    """From here another `watch` goes on."""


def delivery_of(message: pb.Delivery) -> Delivery:
    """Return the delivery that the server sent."""
    return Delivery(
        trigger_id=message.trigger_id,
        campaign_id=message.campaign_id,
        channel=_word(_CHANNELS, message.channel),
        external_id=message.external_id,
        state=DeliveryState(_word(_STATES, message.state)),
        accepted_at=message.accept_time.ToDatetime(dt.UTC),
        next_attempt_at=_moment(message, "next_attempt_time"),
        send_at=_moment(message, "send_at"),
        cancelled_at=_moment(message, "cancel_time"),
        attempts=tuple(map(_attempt, message.attempts)),
    )


def state_name(state: DeliveryState | str | None) -> str | None:
    """Return the state as the contract names it.

    Raises:
        ValueError: there is none of this name.
    """
    if state is None:
        return None
    names = {_word(_STATES, value.number): value.name for value in _STATES.values if value.number}
    if state not in names:
        raise ValueError(f"state: must be one of {', '.join(names)}; not {state!r}")
    return names[state]


def _attempt(message: pb.Attempt) -> Attempt:
    return Attempt(
        number=message.number,
        provider=message.provider,
        outcome=_word(_OUTCOMES, message.outcome),
        started_at=message.start_time.ToDatetime(dt.UTC),
        seconds=message.duration.ToNanoseconds() / 1e9,
        provider_message_id=message.provider_message_id,
        error=message.error,
    )


def _moment(message: pb.Delivery, field: Any) -> dt.datetime | None:
    moment: Timestamp = getattr(message, field)
    return moment.ToDatetime(dt.UTC) if message.HasField(field) else None


def _word(enum: EnumDescriptor, number: int) -> str:
    """Return an enum's value in one word: DELIVERY_STATE_PENDING is `pending`."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    value = enum.values_by_number.get(number)
    return value.name.removeprefix(prefix).lower() if value else DeliveryState.UNKNOWN
