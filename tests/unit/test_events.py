"""Server-sent events: what readers by the standard make of them."""

from __future__ import annotations

import json

from google.rpc import code_pb2, status_pb2

from clarion.v1 import delivery_pb2 as pb
from server.api.sse import events, last_event


def response(cursor: str, external_id: str = "") -> pb.WatchTriggersResponse:
    delivery = pb.Delivery(external_id=external_id) if external_id else None
    return pb.WatchTriggersResponse(cursor=cursor, delivery=delivery)


def test_a_change_is_an_event_with_its_cursor_as_id() -> None:
    [body] = events([response("abc", external_id="two\nlines\r\u2028")])
    assert body.content_type == "text/event-stream"
    first, second, *blank = body.data.decode().split("\n")
    assert (first, blank) == ("id: abc", ["", ""])
    data = json.loads(second.removeprefix("data: "))
    assert data == {"cursor": "abc", "delivery": {"external_id": "two\nlines\r\u2028"}}
    assert "\r" not in second


def test_heartbeat_has_a_name_an_id_and_data() -> None:
    [body] = events([response("abc")])
    assert body.data == b'event: heartbeat\nretry: 1000\nid: abc\ndata: {"cursor":"abc"}\n\n'


def test_simple_reader_can_parse_every_block() -> None:
    """One that splits at blank lines and parses the data, whatever the other lines are."""
    changes = [response("a"), response("b", "u"), response("c")]
    text = b"".join(one.data for one in (*events(changes), last_event(status_pb2.Status()))).decode()
    blocks = text.removesuffix("\n\n").split("\n\n")
    data = [
        json.loads(
            "".join(line.removeprefix("data:") for line in block.split("\n") if line.startswith("data:"))
        )
        for block in blocks
    ]
    assert [one.get("cursor") for one in data] == ["a", "b", "c", None]
    assert ["delivery" in one for one in data] == [False, True, False, False]


def test_concurrent_events_share_bodies_of_bounded_size() -> None:
    messages = [response(f"{number}", external_id="x" * 1000) for number in range(100)]
    bodies = [body.data for body in events(messages)]
    assert 2 < len(bodies) < 10
    assert max(map(len, bodies)) < 40_000
    assert b"".join(bodies) == b"".join(body.data for one in messages for body in events([one]))
    assert list(events([])) == []


def test_the_last_event_says_why() -> None:
    ended = last_event(status_pb2.Status(code=code_pb2.UNAUTHENTICATED, message="no"))
    assert ended.data == b'event: end\nid: end\ndata: {"code":16,"message":"no","details":[]}\n\n'
    assert b'"code":0' in last_event(status_pb2.Status()).data
