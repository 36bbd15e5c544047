"""The queue of webhooks' messages: claims under a lease, and what became of them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Sequence

import asyncpg

from ...domain.delivery import ClaimRequest, Finished
from ...domain.webhook import WebhookClaim
from ..pool import reached
from . import webhooks_sql as statements
from .leased import LeasedQueue

__all__ = ["WebhookQueue"]


class WebhookQueue(LeasedQueue[WebhookClaim]):
    """One dispatcher's view of the queue of messages. A lane is an endpoint."""

    _sql = statements

    async def lanes(self) -> set[str]:
        """Return none: nothing is sent but to the endpoints that there are, and those are known."""
        return set()

    async def wait(self, timeout: float) -> None:  # noqa: ASYNC109 - its end is no error
        """Return after `timeout` seconds: nothing announces messages, they are not that urgent."""
        await asyncio.sleep(timeout)

    async def waiting(self) -> int:
        """Return how many messages wait, due or not.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        async with reached():
            count: int = await self._pool.fetchval(statements.WAITING)
        return count

    @staticmethod
    def _asked(shares: Sequence[ClaimRequest]) -> Iterable[Sequence[object]]:
        return [uuid.UUID(share.provider) for share in shares], [share.slots for share in shares]

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
        )

    @staticmethod
    def _finished_row(finished: Finished[WebhookClaim]) -> tuple[object, ...]:
        attempt = finished.attempt
        reply = finished.reply
        return (
            finished.claim.id,
            attempt.number,
            attempt.outcome.value,
            reply.status if reply else None,
            attempt.started_at,
            attempt.duration,
            attempt.error,
            reply.text if reply else "",
            finished.retry_in,
            finished.claim.endpoint_id,
        )
