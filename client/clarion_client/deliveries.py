"""Deliveries and their changes."""

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
    """The state of a delivery."""

    PENDING = "pending"
    """Waiting for its first attempt."""
    SENDING = "sending"
    """Being attempted now."""
    RETRYING = "retrying"
    """Waiting for another attempt after a failed one."""
    DELIVERED = "delivered"
    """Accepted by the provider."""
    DEAD = "dead"
    """Failed for good."""
    SUPPRESSED = "suppressed"
    """Not sent, because a provider permanently rejected this recipient before."""
    CANCELLED = "cancelled"
    """Cancelled by the caller before it was sent."""
    UNKNOWN = "unknown"
    """A state that this version of the client does not know; update the client."""

    @property
    def is_end(self) -> bool:
        """Whether the delivery has ended."""
        return self in _END_STATES

    @classmethod
    def _missing_(cls, value: object) -> DeliveryState:
        return cls.UNKNOWN


_END_STATES = {
    DeliveryState.DELIVERED,
    DeliveryState.DEAD,
    DeliveryState.SUPPRESSED,
    DeliveryState.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to hand a message to a provider."""

    number: int
    """Counted from 1."""
    provider: str
    outcome: str
    """`delivered`, `retry`, `dead`, `lost`, `suppressed` or `in_doubt`."""
    started_at: dt.datetime
    seconds: float
    provider_message_id: str
    error: str
    """What went wrong, without the recipient's address; empty if nothing did."""
    campaign_version: int | None = None
    """The version of the campaign that the attempt used; None if there was nothing to render."""
    reached_provider: bool = True
    """False if the attempt ended before the provider was called, such as at a template error."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The delivery of one trigger to its recipient. Times are in UTC."""

    trigger_id: str
    campaign_id: int
    channel: str
    """`email`, `text` or `push`."""
    external_id: str
    state: DeliveryState
    accepted_at: dt.datetime
    next_attempt_at: dt.datetime | None
    send_at: dt.datetime | None
    """The `send_at` of the trigger, if it had one."""
    cancelled_at: dt.datetime | None
    attempts: tuple[Attempt, ...]
    """Oldest first."""
    test: bool = False
    """Whether a test key triggered it: then the message is never sent."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a delivery."""

    delivery: Delivery
    """The delivery with its new state."""
    cursor: str
    """Pass it to another `watch` to continue after this change."""


def delivery_of(message: pb.Delivery) -> Delivery:
    """Return the delivery in a response."""
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
        test=message.test,
    )


def state_name(state: DeliveryState | str | None) -> str | None:
    """Return the state's name in the contract, for its word or this name.

    Raises:
        ValueError: The state is unknown.
    """
    if state is None:
        return None
    names = {_word(_STATES, value.number): value.name for value in _STATES.values if value.number}
    if state in names.values():
        return str(state)
    if state not in names:
        raise ValueError(f"state: must be one of {', '.join(names)}, not {str(state)!r}")
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
        campaign_version=message.campaign_version or None,
        reached_provider=message.reached_provider,
    )


def _moment(message: pb.Delivery, field: Any) -> dt.datetime | None:
    moment: Timestamp = getattr(message, field)
    return moment.ToDatetime(dt.UTC) if message.HasField(field) else None


def _word(enum: EnumDescriptor, number: int) -> str:
    """Return an enum value in short form: `pending` for DELIVERY_STATE_PENDING."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    value = enum.values_by_number.get(number)
    return value.name.removeprefix(prefix).lower() if value else DeliveryState.UNKNOWN
