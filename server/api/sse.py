"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from google.api import httpbody_pb2
from google.rpc import status_pb2

from clarion.v1 import delivery_pb2

from .proto_messages import as_json

__all__ = ["events", "last_event"]

_TYPE = "text/event-stream"
_BODY = 32 * 1024  # characters after which a new body starts
_RETRY = 1000  # milliseconds that readers wait before they reconnect
_FINISHED = "end"  # the ID of the last event; the gateway answers 204 to readers that reconnect with it


def events(messages: Sequence[delivery_pb2.WatchTriggersResponse]) -> Iterator[httpbody_pb2.HttpBody]:
    """Yield messages as events. Each body has many of them, because a body costs as much as ten events."""
    text = ""
    for message in messages:
        text += _block(message)
        if len(text) >= _BODY:
            yield _body(text)
            text = ""
    if text:
        yield _body(text)


def last_event(status: status_pb2.Status) -> httpbody_pb2.HttpBody:
    """Return the event `end` with a status. Clients that receive it should not reconnect.

    A standard `EventSource` reconnects nevertheless, with the event's ID in the header `Last-Event-ID`.
    """
    return _body(f"event: end\nid: {_FINISHED}\ndata: {as_json(status, always=True)}\n\n")


def _block(message: delivery_pb2.WatchTriggersResponse) -> str:
    """Return one event. A message without a delivery becomes a heartbeat, which only has a new cursor.

    A heartbeat has an event name, so that an `EventSource` does not pass it on as a change. It has data,
    because simple clients parse the data of every event without checking whether there is any.
    """
    event = f"id: {message.cursor}\ndata: {as_json(message)}\n\n"
    return event if message.HasField("delivery") else f"event: heartbeat\nretry: {_RETRY}\n{event}"


def _body(text: str) -> httpbody_pb2.HttpBody:
    return httpbody_pb2.HttpBody(content_type=_TYPE, data=text.encode())
