"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import msgspec
from google.api import httpbody_pb2
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import status_pb2

from clarion.v1 import delivery_pb2

__all__ = ["event", "last_event"]

_TYPE = "text/event-stream"
_AGAIN = 1000  # milliseconds after which readers open a broken stream again


def event(message: delivery_pb2.WatchTriggersResponse) -> httpbody_pb2.HttpBody:
    """Return a message of the stream. One without a delivery is no event, but its id is remembered."""
    id_line = f"id: {message.cursor}"
    if message.HasField("delivery"):
        return _body(id_line, f"data: {_json(message)}")
    return _body(": heartbeat", f"retry: {_AGAIN}", id_line)


def last_event(status: status_pb2.Status) -> httpbody_pb2.HttpBody:
    """Return the event `end`: the reader need not come again."""
    return _body("event: end", f"data: {_json(status, always=True)}")


def _body(*lines: str) -> httpbody_pb2.HttpBody:
    return httpbody_pb2.HttpBody(content_type=_TYPE, data="\n".join((*lines, "", "")).encode())


def _json(message: Message, *, always: bool = False) -> str:
    """Return a message in one line; `always`: with numbers that are 0."""
    found = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=always
    )
    return msgspec.json.encode(found).decode()
