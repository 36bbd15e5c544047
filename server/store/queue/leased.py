"""The base class of the queues of triggers and webhook messages, with claims under a lease."""

from __future__ import annotations

import time
import uuid
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Generic

import asyncpg
import structlog

from ...domain.delivery import ClaimRequest, ClaimT, Finished, Released
from ...errors import StoreUnavailable
from ..pool import Pool, reached
from ..sql import Statement
from .scan_floor import ScanFloors

__all__ = ["LeasedQueue"]

log = structlog.get_logger(__name__)

_EXPIRED_AT_ONCE = 500


class LeasedQueue(ABC, Generic[ClaimT]):
    """One dispatcher's view of a queue. Subclasses provide the statements and convert the rows.

    Args:
        pool: The database, opened with the settings `SESSION` of `triggers.py`.
        clock: Returns monotonic seconds, for the scan floors.
    """

    _sql: ClassVar[Mapping[str, Statement]]
    """The statements `claim`, `renew`, `finish`, `release` and `bury_expired`."""
    _bury_arguments: ClassVar[Mapping[str, object]] = {}
    """Further arguments of `bury_expired`."""

    def __init__(self, pool: Pool, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._holder = uuid.uuid4()
        self._floors = ScanFloors(clock)
        self._held = False

    @staticmethod
    @abstractmethod
    def _claim_arguments(shares: Sequence[ClaimRequest]) -> dict[str, object]:
        """Return the arguments of `claim` that depend on the shares."""

    @staticmethod
    @abstractmethod
    def _claim(row: asyncpg.Record) -> ClaimT:
        """Return the claim that a row of `claim` describes."""

    @staticmethod
    @abstractmethod
    def _finish_arguments(finished: Sequence[Finished[ClaimT]]) -> dict[str, object]:
        """Return the arguments of `finish` that depend on the attempts."""

    async def claim(self, shares: Sequence[ClaimRequest], lease: float) -> list[ClaimT]:
        """Claim what is due in each lane, up to its share; nothing while sending is held.

        Args:
            shares: The lanes, with the number of claims wanted from each.
            lease: Seconds after which another dispatcher may claim the same rows.

        Raises:
            StoreUnavailable: The database cannot be reached.
        """
        floors = [self._floors.of(share.lane) for share in shares]
        values = self._claim_arguments(shares)
        statement = self._sql["claim"](**values, floors=floors, lease=lease, holder=self._holder)
        try:
            async with reached():
                rows = await self._pool.fetch(*statement)
                found = await self._found(rows)
        except StoreUnavailable:
            self._floors.reset()
            raise
        if self._is_held(held=rows[0]["held"] is not False):
            return []
        claims = [self._claim(row) for row in found]
        counts = Counter(claim.lane for claim in claims)
        self._floors.record_scan(shares, counts, rows[0]["reached"], rows[0]["at"])
        return claims

    async def _found(self, rows: Sequence[asyncpg.Record]) -> Sequence[asyncpg.Record]:
        """Return the rows of `claim` with a claim; a row without an ID only has the time."""
        return [row for row in rows if row["id"] is not None]

    def _is_held(self, *, held: bool) -> bool:
        """Return whether sending is held, and log when that changes."""
        if held:
            self._floors.reset()  # nothing was scanned
        if held != self._held:
            self._held = held
            log.warning("sending is held" if held else "sending was released", queue=type(self).__name__)
        return held

    async def finish(self, finished: Sequence[Finished[ClaimT]]) -> None:
        """Record attempts, and remove their rows from the queue or make them due again, in one commit.

        Raises:
            StoreUnavailable: The database cannot be reached; call again with the same attempts.
        """
        values = self._finish_arguments(finished)
        async with reached():
            await self._pool.execute(*self._sql["finish"](**values, holder=self._holder))

    async def renew(self, claims: Sequence[ClaimT], lease: float) -> set[uuid.UUID]:
        """Extend the leases of claims; return the IDs of those that this dispatcher still holds.

        Args:
            claims: The claims that are still being sent.
            lease: Seconds from now after which another dispatcher may claim the same rows.

        Raises:
            StoreUnavailable: The database cannot be reached.
        """
        values = {
            "ids": [claim.id for claim in claims],
            "numbers": [claim.attempt for claim in claims],
            "lease": lease,
        }
        statement = self._sql["renew"](**values, holder=self._holder)
        async with reached():
            return {row["id"] for row in await self._pool.fetch(*statement)}

    async def release(self, released: Sequence[Released[ClaimT]]) -> None:
        """Release claims without counting an attempt; they are due again after their wait.

        Raises:
            StoreUnavailable: The database cannot be reached; the claims are due again when their leases end.
        """
        values = {
            "ids": [item.claim.id for item in released],
            "numbers": [item.claim.attempt for item in released],
            "waits": [item.wait for item in released],
        }
        async with reached():
            await self._pool.execute(*self._sql["release"](**values, holder=self._holder))

    async def bury_expired(self, error: str, after_doubt: str) -> int:
        """Give up rows that have expired and are not leased; return how many.

        Args:
            error: The error to record for them.
            after_doubt: The error to record where an earlier attempt may have succeeded.

        Raises:
            StoreUnavailable: The database cannot be reached.
        """
        errors = {"error": error, "after_doubt": after_doubt}
        values = {"limit": _EXPIRED_AT_ONCE, **errors, **self._bury_arguments}
        async with reached():
            return len(await self._pool.fetch(*self._sql["bury_expired"](**values)))
