"""The queue of webhooks' messages: claims under a lease, and what became of them."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence

import asyncpg

from ..domain.delivery import Finished, Returned, Share
from ..domain.webhook import Posted, WebhookClaim
from ..errors import StoreUnavailable
from . import webhook_statements as statements
from .floors import Floors
from .pool import Pool, reached

__all__ = ["WebhookQueue"]

_EXPIRED_AT_ONCE = 500


class WebhookQueue:
    """One dispatcher's view of the queue. A lane is an endpoint."""

    def __init__(self, pool: Pool, clock: Callable[[], float] = time.monotonic) -> None:
        """Take a pool opened with the settings `SESSION` of `queue.py`."""
        self._pool = pool
        self._id = uuid.uuid4()
        self._floors = Floors(clock)

    async def claim(self, shares: Sequence[Share], lease: float) -> list[WebhookClaim]:
        """Claim what is due of each endpoint, up to its share, for `lease` seconds.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        endpoints, slots = [uuid.UUID(share.provider) for share in shares], [share.slots for share in shares]
        floors = [self._floors.of(share.lane) for share in shares]
        try:
            async with reached():
                rows = await self._pool.fetch(statements.CLAIM, endpoints, slots, floors, lease, self._id)
        except StoreUnavailable:
            self._floors.begin_anew()
            raise
        claims = [_claim(row) for row in rows if row["id"] is not None]
        came = Counter(claim.lane for claim in claims)
        self._floors.looked(shares, came, rows[0]["reached"], rows[0]["at"])
        return claims

    async def finish(self, finished: Sequence[Finished[WebhookClaim]]) -> None:
        """Record attempts and take their messages off the queue or put them back, in one commit.

        Raises:
            StoreUnavailable: the database cannot be reached; call again with the same.
        """
        columns = zip(*map(_finished_row, finished), strict=True)
        async with reached():
            await self._pool.execute(statements.FINISH, *map(list, columns), self._id)

    async def hand_back(self, returned: Sequence[Returned[WebhookClaim]]) -> None:
        """Give claims back undone; they are due after their wait, and no attempt is counted.

        Raises:
            StoreUnavailable: the database cannot be reached; the leases will run out instead.
        """
        ids, numbers = [one.claim.id for one in returned], [one.claim.attempt for one in returned]
        waits = [one.wait for one in returned]
        async with reached():
            await self._pool.execute(statements.HAND_BACK, ids, numbers, waits, self._id)

    async def bury_expired(self, error: str) -> int:
        """Give up what has expired while nobody held it; return how many.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        async with reached():
            return len(await self._pool.fetch(statements.BURY_EXPIRED, _EXPIRED_AT_ONCE, error))

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


def _finished_row(finished: Finished[WebhookClaim]) -> tuple[object, ...]:
    attempt = finished.attempt
    status, answer = (finished.status, finished.answer) if isinstance(finished, Posted) else (None, "")
    return (
        finished.claim.id,
        attempt.number,
        attempt.outcome.value,
        status,
        attempt.started_at,
        attempt.duration,
        attempt.error,
        answer,
        finished.retry_in,
        finished.claim.endpoint_id,
    )
