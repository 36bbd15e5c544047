"""Converts domain objects to protobuf messages, and messages to the JSON that the gateway produces."""

from __future__ import annotations

import datetime as dt

import msgspec
from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from clarion.v1 import delivery_pb2

from ..domain.delivery import Attempt, Delivery

__all__ = ["as_json", "delivery_message", "timestamp"]


def as_json(message: Message, *, always: bool = False) -> str:
    """Return a message as JSON in one line.

    Args:
        message: The message.
        always: Whether to include fields with their default value, such as 0.
    """
    fields = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=always
    )
    return msgspec.json.encode(fields).decode()


def timestamp(moment: dt.datetime | None) -> Timestamp | None:
    """Return a time as a protobuf timestamp, and None for None."""
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def delivery_message(delivery: Delivery) -> delivery_pb2.Delivery:
    """Return a delivery as a protobuf message."""
    return delivery_pb2.Delivery(
        trigger_id=str(delivery.trigger_id),
        campaign_id=delivery.campaign_id,
        channel=f"CHANNEL_{delivery.channel.name}",
        external_id=delivery.external_id,
        state=f"DELIVERY_STATE_{delivery.state.name}",
        accept_time=timestamp(delivery.accepted_at),
        next_attempt_time=timestamp(delivery.next_attempt_at),
        attempts=[_attempt(attempt) for attempt in delivery.attempts],
        send_at=timestamp(delivery.send_at),
        cancel_time=timestamp(delivery.cancelled_at),
    )


def _attempt(attempt: Attempt) -> delivery_pb2.Attempt:
    message = delivery_pb2.Attempt(
        number=attempt.number,
        provider=attempt.provider,
        outcome=f"ATTEMPT_OUTCOME_{attempt.outcome.name}",
        start_time=timestamp(attempt.started_at),
        provider_message_id=attempt.provider_message_id,
        error=attempt.error,
    )
    message.duration.FromMicroseconds(int(attempt.duration * 1_000_000))
    return message
