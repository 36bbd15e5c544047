"""A stream for one watcher: the current state, changes, and heartbeats."""

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
"""Seconds between heartbeats of an idle stream: fewer than the idle timeouts of proxies."""
_POLL_SECONDS = 1.0  # between checks of the key

Response = delivery_pb2.WatchTriggersResponse


@dataclass(slots=True)
class _Stream:
    """A watcher: its position, its triggers that have not ended, and when it last got a message."""

    position: Position
    open: set[uuid.UUID]
    sent_at: float

    def message(self, position: Position, delivery: Delivery | None = None) -> Response:
        """Return the message for a position: a delivery that changed, or only a cursor."""
        self.position, self.sent_at = position, time.monotonic()
        if delivery is None:
            return Response(cursor=cursor_of(position))
        if delivery.state.is_end:
            self.open.discard(delivery.trigger_id)
        return Response(delivery=delivery_message(delivery), cursor=cursor_of(position))


async def watch(
    feed: ChangeFeed,
    project_id: int,
    followed: WatchFilter,
    start: Position | None,
    check_key: Callable[[], object],
) -> AsyncGenerator[list[Response]]:
    """Yield messages in lists: those that are available at once. End when all named triggers have ended.

    Args:
        feed: The log of changes.
        project_id: The caller's project.
        followed: The triggers to watch.
        start: Where an earlier stream ended, if this one continues it.
        check_key: Raises if the caller's key no longer works.

    Raises:
        InvalidRequest: `start` is after the end of the log.
        DeliveryNotFound: The project does not have one of the named triggers.
        ServerEnding: This process is stopping.
        StoreUnavailable: The database cannot be reached.
    """
    with feed.watching(project_id):
        end = (
            await feed.end()
        )  # before the current state is read, so that no change is missed between the two
        if start is not None and start > end:
            raise InvalidRequest([_other_database()])
        stream = _Stream(start or end, set(followed.trigger_ids or ()), time.monotonic())
        current = await _current(feed, project_id, followed)
        yield [stream.message(stream.position, delivery) for delivery in (None, *current)]
        while stream.open or followed.trigger_ids is None:
            found = await feed.after(stream.position, project_id, followed, _POLL_SECONDS)
            check_key()
            if found.changes:
                yield [stream.message(change.position, change.delivery) for change in found.changes]
            stream.position = found.reached
            if time.monotonic() - stream.sent_at >= HEARTBEAT:
                yield [stream.message(stream.position)]


async def _current(feed: ChangeFeed, project_id: int, followed: WatchFilter) -> list[Delivery]:
    """Return the current state of the named triggers, in the order of the request.

    Raises:
        DeliveryNotFound: The project does not have one of them.
    """
    ids = followed.trigger_ids or ()
    found = await feed.present(ids, project_id) if ids else {}
    for trigger_id in ids:
        if trigger_id not in found:
            raise DeliveryNotFound.of(trigger_id)
    return [found[trigger_id] for trigger_id in ids]


def _other_database() -> Violation:
    description = "is ahead of all changes: it is from another database; start without a cursor"
    return Violation("cursor", description, "OUT_OF_RANGE")
