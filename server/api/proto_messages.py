"""Converts domain objects to protobuf messages, and messages to the JSON that the gateway produces."""

from __future__ import annotations

import datetime as dt
from functools import cache
from typing import Any

import msgspec
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
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
    descriptor: Any = message.DESCRIPTOR  # its stub names the C implementation as well
    return msgspec.json.encode(_with_words(fields, descriptor)).decode()


def _with_words(fields: dict[str, Any], message: Descriptor) -> dict[str, Any]:
    """Return JSON of proto3 with the words and integers of REST (gateway/config/words.lua)."""
    if message.full_name.startswith("google."):
        return fields
    return {name: _with_word(value, message.fields_by_name[name]) for name, value in fields.items()}


def _with_word(value: Any, field: FieldDescriptor) -> Any:
    if isinstance(value, list):
        return [_with_word(one, field) for one in value]
    if isinstance(value, dict) and field.message_type:
        return _with_words(value, field.message_type)
    if field.enum_type:
        return _word(field.enum_type, value)
    return int(value) if field.type == FieldDescriptor.TYPE_INT64 else value


@cache
def _word(enum: EnumDescriptor, name: str) -> str:
    """Return `dead` for `DELIVERY_STATE_DEAD`."""
    return name.removeprefix(enum.values_by_number[0].name.removesuffix("UNSPECIFIED")).lower()


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
        test=delivery.test,
    )


def _attempt(attempt: Attempt) -> delivery_pb2.Attempt:
    message = delivery_pb2.Attempt(
        number=attempt.number,
        provider=attempt.provider,
        outcome=f"ATTEMPT_OUTCOME_{attempt.outcome.name}",
        start_time=timestamp(attempt.started_at),
        provider_message_id=attempt.provider_message_id,
        error=attempt.error,
        campaign_version=attempt.campaign_version or 0,
        reached_provider=attempt.reached_provider,
    )
    message.duration.FromMicroseconds(int(attempt.duration * 1_000_000))
    return message
