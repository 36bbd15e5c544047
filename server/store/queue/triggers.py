"""The queue: claims under a lease, and what became of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

import asyncpg
import structlog

from ...domain.campaign import Channel
from ...domain.delivery import AttemptOutcome, Claim, ClaimRequest, Finished
from ...domain.trigger import Trigger
from ..accept.notify import CHANNEL
from ..pool import Connection, Pool, is_outage, reached
from . import triggers_sql as statements
from .leased import LeasedQueue

__all__ = ["SESSION", "PostgresQueue"]

log = structlog.get_logger(__name__)

SESSION = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",  # planning a claim anew takes as long as claiming
}
"""What PostgreSQL must be told on the connections of a queue.

It keeps a statement's plan, made without knowing how few rows a batch holds and perhaps while the tables were
small. So the statements name their rows by `= ANY` or OFFSET 0, which leaves only the index to find them by.
"""


class PostgresQueue(LeasedQueue[Claim]):
    """One dispatcher's view of the queue of triggers."""

    _sql = statements

    def __init__(self, pool: Pool, clock: Callable[[], float] = time.monotonic) -> None:
        """Take a pool opened with the settings `SESSION`."""
        super().__init__(pool, clock)
        self._news = asyncio.Event()
        self._listener: Connection | None = None

    async def lanes(self) -> set[str]:
        """Return the lanes in which anything waits, due or not.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        async with reached():
            return {row["lane"] for row in await self._pool.fetch(statements.LANES)}

    async def wait(self, timeout: float) -> None:  # noqa: ASYNC109 - "or that time has passed" is the contract
        """Return when new work was announced, or after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._listen()
                await self._news.wait()
        except TimeoutError:
            return
        finally:
            self._news.clear()

    async def close(self) -> None:
        """Stop listening."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(asyncpg.InterfaceError):  # lost a moment ago
                await listener.close()

    async def _listen(self) -> None:
        """Hold a connection that hears notices; a lost one is opened again at the next wait."""
        if self._listener is not None:
            return
        try:
            self._listener = await self._listening_connection()
        except Exception as error:
            if not is_outage(error):
                raise
            log.warning("not listening for new work", error=type(error).__name__)

    async def _listening_connection(self) -> Connection:
        connection = await self._pool.acquire()
        try:
            await connection.add_listener(CHANNEL, lambda *_: self._news.set())
        except BaseException:  # also when the wait ended meanwhile: the pool must get its place back
            connection.terminate()
            raise
        connection.add_termination_listener(self._not_listening)
        return connection

    def _not_listening(self, *_: object) -> None:
        self._listener = None

    @staticmethod
    def _asked(shares: Sequence[ClaimRequest]) -> Iterable[Sequence[object]]:
        lanes, slots = [share.lane for share in shares], [share.slots for share in shares]
        return lanes, slots, [share.provider for share in shares]

    @staticmethod
    def _claim(row: asyncpg.Record) -> Claim:
        trigger = Trigger(
            id=row["id"],
            project_id=row["project_id"],
            campaign_id=row["campaign_id"],
            channel=Channel(row["channel"]),
            external_id=row["external_id"],
            address=row["address"],
            timezone=row["timezone"],
            locale=row["locale"],
            user_data=row["user_data"],
            event=row["event"],
            traceparent=row["traceparent"],
            send_at=row["send_at"],
            accepted_at=row["accepted_at"],
        )
        return Claim(
            trigger,
            row["attempt"],
            row["sent_by"],
            row["due_at"],
            lane=row["lane"],
            earlier=row["tries_from"],
            expires_at=row["expires_at"],
            suppressed=row["reason"] or "",
        )

    @staticmethod
    def _finished_row(finished: Finished) -> tuple[object, ...]:
        attempt = finished.attempt
        again = attempt.outcome in {AttemptOutcome.RETRY, AttemptOutcome.LOST}
        assert again == (finished.retry_in is not None)  # noqa: S101 - ours to keep
        return (
            finished.claim.id,
            attempt.number,
            attempt.provider,
            attempt.outcome.value,
            attempt.started_at,
            attempt.duration,
            attempt.provider_message_id,
            attempt.error,
            finished.retry_in,
            finished.refusal,
        )
