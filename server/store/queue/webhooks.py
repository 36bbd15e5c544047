"""The queue of webhook messages: claims under a lease, and their outcomes."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence

import asyncpg

from ...domain.delivery import ClaimRequest, Finished
from ...domain.webhook import WebhookClaim
from ..pool import reached
from ..sql import load
from .leased import LeasedQueue

__all__ = ["WebhookQueue"]


class WebhookQueue(LeasedQueue[WebhookClaim]):
    """One dispatcher's view of the queue of messages. Each endpoint is a lane."""

    _sql = load("queue/webhooks.sql")

    async def lanes(self) -> set[str]:
        """Return an empty set: messages are sent only to known endpoints, so no lanes need to be found."""
        return set()

    async def wait(self, timeout: float) -> None:  # noqa: ASYNC109 - a timeout is not an error here
        """Return after `timeout` seconds. Messages are not announced: they are less urgent than triggers."""
        await asyncio.sleep(timeout)

    async def waiting(self) -> int:
        """Return the number of queued messages, due or not.

        Raises:
            StoreUnavailable: The database cannot be reached.
        """
        async with reached():
            count: int = await self._pool.fetchval(*self._sql["count_waiting"]())
        return count

    @staticmethod
    def _claim_arguments(shares: Sequence[ClaimRequest]) -> dict[str, object]:
        return {
            "endpoints": [uuid.UUID(share.provider) for share in shares],
            "slots": [share.slots for share in shares],
        }

    @staticmethod
    def _claim(row: asyncpg.Record) -> WebhookClaim:
        return WebhookClaim(
            id=row["id"],
            endpoint_id=row["webhook_id"],
            type=row["type"],
            body=row["body"],
            attempt=row["attempt"],
            earlier=row["tries_from"],
            expires_at=row["expires_at"],
            traceparent=row["traceparent"],
        )

    @staticmethod
    def _finish_arguments(finished: Sequence[Finished[WebhookClaim]]) -> dict[str, object]:
        attempts, replies = [one.attempt for one in finished], [one.reply for one in finished]
        return {
            "ids": [one.claim.id for one in finished],
            "numbers": [attempt.number for attempt in attempts],
            "outcomes": [attempt.outcome.value for attempt in attempts],
            "statuses": [reply.status if reply else None for reply in replies],
            "started_at": [attempt.started_at for attempt in attempts],
            "durations": [attempt.duration for attempt in attempts],
            "errors": [attempt.error for attempt in attempts],
            "answers": [reply.text if reply else "" for reply in replies],
            "retry_in": [one.retry_in for one in finished],
            "endpoints": [one.claim.endpoint_id for one in finished],
        }
