"""The stream of one watcher: first the current state, then changes and heartbeats."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from clarion.v1 import delivery_pb2

from ..domain.delivery import Delivery, Position, WatchFilter
from ..domain.ports import ChangeFeed
from ..errors import DeliveryNotFound, InvalidRequest, Violation
from .page_tokens import cursor_of
from .proto_messages import delivery_message

__all__ = ["HEARTBEAT", "watch"]

HEARTBEAT = 15.0
"""Seconds between heartbeats of an idle stream; shorter than the idle timeouts of common proxies."""
_POLL_SECONDS = 1.0  # between checks of the key

Response = delivery_pb2.WatchTriggersResponse
_CURSOR_AHEAD = Violation(
    "cursor",
    "is later than the newest change, so it is from another database; start without a cursor",
    "OUT_OF_RANGE",
)


@dataclass(slots=True)
class _Stream:
    """The state of a stream: how far it got, and which of the requested triggers it still follows."""

    position: Position
    unfinished: set[uuid.UUID]
    """The requested triggers whose state is not final."""
    sent_at: float
    """When the last message was created, by the monotonic clock."""

    def advance(self, position: Position, delivery: Delivery | None = None) -> Response:
        """Move to a position, and return the message for it: a changed delivery, or only a cursor."""
        self.position, self.sent_at = position, time.monotonic()
        if delivery is None:
            return Response(cursor=cursor_of(position))
        if delivery.state.is_end:
            self.unfinished.discard(delivery.trigger_id)
        return Response(delivery=delivery_message(delivery), cursor=cursor_of(position))


async def watch(
    feed: ChangeFeed,
    project_id: int,
    followed: WatchFilter,
    start: Position | None,
    check_key: Callable[[], object],
) -> AsyncGenerator[list[Response]]:
    """Yield lists of messages; each list has those that are available at that moment.

    If `followed` lists trigger IDs, the stream ends when the states of all of them are final.

    Args:
        feed: The log of changes.
        project_id: The caller's project.
        followed: The triggers to watch.
        start: The position from which to continue an earlier stream.
        check_key: Raises if the caller's key no longer works.

    Raises:
        InvalidRequest: `start` is after the end of the log.
        DeliveryNotFound: One of the listed triggers does not exist in the project.
        ServerEnding: This process is stopping.
        StoreUnavailable: The database cannot be reached.
    """
    with feed.watching(project_id):
        end = await feed.end()  # before the current state is read, so that no change is missed in between
        if start is not None and start > end:
            raise InvalidRequest([_CURSOR_AHEAD])
        stream = _Stream(start or end, set(followed.trigger_ids or ()), time.monotonic())
        current = await _current(feed, project_id, followed)
        yield [stream.advance(stream.position, delivery) for delivery in (None, *current)]
        while stream.unfinished or followed.trigger_ids is None:
            changed = await feed.after(stream.position, project_id, followed, _POLL_SECONDS)
            check_key()
            if changed.changes:
                yield [stream.advance(change.position, change.delivery) for change in changed.changes]
            stream.position = changed.reached
            if time.monotonic() - stream.sent_at >= HEARTBEAT:
                yield [stream.advance(stream.position)]


async def _current(feed: ChangeFeed, project_id: int, followed: WatchFilter) -> list[Delivery]:
    """Return the deliveries of the listed triggers, in the order of the request.

    Raises:
        DeliveryNotFound: One of them does not exist in the project.
    """
    ids = followed.trigger_ids or ()
    found = await feed.present(ids, project_id) if ids else {}
    for trigger_id in ids:
        if trigger_id not in found or followed.test not in (None, found[trigger_id].test):
            raise DeliveryNotFound.of(trigger_id)
    return [found[trigger_id] for trigger_id in ids]
