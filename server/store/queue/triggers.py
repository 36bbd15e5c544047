"""The queue of triggers: claims under a lease, and their outcomes."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from operator import itemgetter

import asyncpg
import structlog

from ...domain.delivery import AttemptOutcome, Claim, ClaimRequest, Finished, Moved
from ...domain.webhook import POLICY
from ..accept.notify import NOTIFY, QUEUE_CHANNEL
from ..id_ranges import ALL_IDS, range_of, recent_ids
from ..pool import Connection, Pool, is_outage, reached
from ..sql import load
from ..trigger_rows import tested_content, trigger_of_row
from .leased import LeasedQueue

__all__ = ["SESSION", "PostgresQueue"]

log = structlog.get_logger(__name__)

_SEARCH_TIMEOUT = 300.0
"""Seconds that a search through a lane's due triggers may take; a million triggers take about 10 s."""

SESSION = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",  # planning a claim anew takes as long as claiming
}
"""Settings of PostgreSQL for the connections of a queue.

PostgreSQL keeps a statement's plan. It makes the plan without knowing that a batch has few rows, and perhaps
while the tables are small. So the statements use `= ANY` or OFFSET 0, which force it to use an index.
"""


class PostgresQueue(LeasedQueue[Claim]):
    """One dispatcher's view of the queue of triggers.

    Args:
        pool: The database, opened with the settings `SESSION`.
        clock: Returns monotonic seconds, for the scan floors.
    """

    _sql = load("queue/triggers.sql")
    _bury_arguments = {"message_ttl": POLICY.ttl, **ALL_IDS}  # noqa: RUF012

    def __init__(self, pool: Pool, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(pool, clock)
        self._notified = asyncio.Event()
        self._listener: Connection | None = None

    async def lanes(self) -> set[str]:
        """Return the lanes with queued triggers, due or not.

        Raises:
            StoreUnavailable: The database cannot be reached.
        """
        async with reached():
            return {row["lane"] for row in await self._pool.fetch(*self._sql["lanes"]())}

    async def move_misplaced(self, lane: str, floor: dt.datetime, limit: int) -> Moved:
        """Move due triggers of this lane whose campaign has another lane, and notify the dispatchers.

        Args:
            lane: The lane to search.
            floor: The due time from which to search.
            limit: The maximum number of triggers to move.

        Raises:
            StoreUnavailable: The database cannot be reached.
        """
        statement = self._sql["move_misplaced"](lane=lane, floor=floor, limit=limit)
        async with reached():
            row = await self._pool.fetchrow(*statement, timeout=_SEARCH_TIMEOUT)
            assert row  # noqa: S101 - an aggregate returns one row
            if row["moved"]:
                await self._pool.execute(*NOTIFY)
        return Moved(row["moved"], row["at"], row["reached"])

    async def wait(self, timeout: float) -> None:  # noqa: ASYNC109 - a timeout is not an error here
        """Return when new work is queued, or after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._listen()
                await self._notified.wait()
        except TimeoutError:
            return
        finally:
            self._notified.clear()

    async def close(self) -> None:
        """Stop listening."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(asyncpg.InterfaceError):  # the connection was just lost
                await listener.close()

    async def _listen(self) -> None:
        """Open a listening connection if needed; after a loss, the next `wait` opens another."""
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
            await connection.add_listener(QUEUE_CHANNEL, lambda *_: self._notified.set())
        except BaseException:  # including a timeout: the pool needs its slot back
            connection.terminate()
            raise
        connection.add_termination_listener(self._not_listening)
        return connection

    def _not_listening(self, *_: object) -> None:
        self._listener = None

    @staticmethod
    def _claim_arguments(shares: Sequence[ClaimRequest]) -> dict[str, object]:
        return {
            "lanes": [share.lane for share in shares],
            "slots": [share.slots for share in shares],
            "providers": [share.provider for share in shares],
            **recent_ids(),
        }

    async def _found(self, rows: Sequence[asyncpg.Record]) -> Sequence[asyncpg.Record]:
        """Return the rows with claims, the oldest trigger first, and read triggers that are not recent."""
        found = [*await super()._found(rows)]
        others = [row["claimed_id"] for row in rows if row["id"] is None and row["claimed_id"] is not None]
        if not others:
            return found
        statement = self._sql["read_claimed"](ids=others, holder=self._holder, **range_of(others))
        found += [row for row in await self._pool.fetch(*statement) if row["id"] is not None]
        return sorted(found, key=itemgetter("id"))

    @staticmethod
    def _claim(row: asyncpg.Record) -> Claim:
        return Claim(
            trigger_of_row(row),
            row["attempt"],
            row["sent_by"],
            row["due_at"],
            lane=row["lane"],
            earlier=row["tries_from"],
            expires_at=row["expires_at"],
            suppressed=row["reason"] or "",
            doubts=row["doubts"],
            may_have_arrived=row["may_have_arrived"],
            content=tested_content(row),
        )

    @staticmethod
    def _finish_arguments(finished: Sequence[Finished]) -> dict[str, object]:
        for one in finished:
            again = one.attempt.outcome in {AttemptOutcome.RETRY, AttemptOutcome.LOST}
            either = one.attempt.outcome is AttemptOutcome.IN_DOUBT
            assert either or again == (one.retry_in is not None)  # noqa: S101 - a bug of the dispatcher
        attempts = [one.attempt for one in finished]
        ids = [one.claim.id for one in finished]
        return {
            "ids": ids,
            **range_of(ids),
            "numbers": [attempt.number for attempt in attempts],
            "providers": [attempt.provider for attempt in attempts],
            "outcomes": [attempt.outcome.value for attempt in attempts],
            "started_at": [attempt.started_at for attempt in attempts],
            "durations": [attempt.duration for attempt in attempts],
            "provider_message_ids": [attempt.provider_message_id for attempt in attempts],
            "errors": [attempt.error for attempt in attempts],
            "campaign_versions": [attempt.campaign_version for attempt in attempts],
            "reached": [attempt.reached_provider for attempt in attempts],
            "retry_in": [one.retry_in for one in finished],
            "refusals": [one.refusal for one in finished],
            "message_ttl": POLICY.ttl,
        }
