"""Converts messages of the admin API for output."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any, Protocol

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from ..api.proto_messages import as_json
from ..domain.limit import OwnLimit

__all__ = ["as_data", "limit_of", "moment", "word"]


class _Limited(Protocol):
    requests_per_second: float
    burst: int

    def HasField(self, field_name: Any, /) -> bool: ...  # noqa: N802 - protobuf's name


def as_data(message: Message) -> Any:
    """Return a message as data for JSON, in the form of REST, with fields that are empty."""
    return json.loads(as_json(message, always=True))


def moment(stamp: Timestamp) -> str:
    """Return a time for a cell of a table."""
    return stamp.ToDatetime(tzinfo=dt.UTC).isoformat(timespec="seconds")


def word(message: Message, field: str) -> str:
    """Return the word of REST for the enum value of a field, such as `email`."""
    text: str = as_data(message)[field]
    return text


def limit_of(message: _Limited) -> OwnLimit:
    """Return the rate limit in a message."""
    return OwnLimit(
        message.requests_per_second if message.HasField("requests_per_second") else None,
        message.burst if message.HasField("burst") else None,
    )
