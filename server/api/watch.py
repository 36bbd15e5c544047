"""What a watcher is told: the present, what changes, and signs of life."""

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
"""Seconds of silence after which a message says that the stream lives; below what proxies wait for."""
_LOOK_UP = 1.0  # seconds after which the key is looked at again

Told = delivery_pb2.WatchTriggersResponse


@dataclass(slots=True)
class _Stream:
    """One watcher: how far the log was told, which triggers have not ended yet, and when it last spoke."""

    position: Position
    open: set[uuid.UUID]
    spoke_at: float

    def tell(self, position: Position, delivery: Delivery | None = None) -> Told:
        """Return a message that leads up to a position."""
        self.position, self.spoke_at = position, time.monotonic()
        if delivery is None:
            return Told(cursor=cursor_of(position))
        if delivery.state.is_end:
            self.open.discard(delivery.trigger_id)
        return Told(delivery=delivery_message(delivery), cursor=cursor_of(position))


async def watch(
    feed: ChangeFeed,
    project_id: int,
    followed: WatchFilter,
    start: Position | None,
    allowed: Callable[[], object],
) -> AsyncGenerator[list[Told]]:
    """Yield what the watcher is told, by what there is at once; end when all that it names have ended.

    `start` is where an earlier stream ended; `allowed` raises once the caller's key works no more.

    Raises:
        InvalidRequest: `start` lies behind the end of the log.
        DeliveryNotFound: the project has no trigger of a given id.
        ServerEnding: this process ends.
        StoreUnavailable: the database cannot be reached.
    """
    with feed.watching(project_id):
        end = await feed.end()  # before the present is looked at, so that nothing falls in between
        if start is not None and start > end:
            raise InvalidRequest([_not_of_this_database()])
        stream = _Stream(start or end, set(followed.trigger_ids or ()), time.monotonic())
        present = await _present(feed, project_id, followed)
        yield [stream.tell(stream.position, delivery) for delivery in (None, *present)]
        while stream.open or followed.trigger_ids is None:
            found = await feed.after(stream.position, project_id, followed, _LOOK_UP)
            allowed()
            if found.changes:
                yield [stream.tell(change.position, change.delivery) for change in found.changes]
            stream.position = found.reached
            if time.monotonic() - stream.spoke_at >= HEARTBEAT:
                yield [stream.tell(stream.position)]


async def _present(feed: ChangeFeed, project_id: int, followed: WatchFilter) -> list[Delivery]:
    """Return the present of the triggers that are followed by name, in the order of the request.

    Raises:
        DeliveryNotFound: one is not there.
    """
    ids = followed.trigger_ids or ()
    found = await feed.present(ids, project_id) if ids else {}
    for trigger_id in ids:
        if trigger_id not in found:
            raise DeliveryNotFound.of(trigger_id)
    return [found[trigger_id] for trigger_id in ids]


def _not_of_this_database() -> Violation:
    description = "is ahead of what was recorded here: the database is another one; begin without a cursor"
    return Violation("cursor", description, "OUT_OF_RANGE")
