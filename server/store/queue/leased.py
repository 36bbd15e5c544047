"""What the queue of triggers and that of webhooks' messages have in common: claims under a lease."""

from __future__ import annotations

import time
import uuid
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, Protocol

import asyncpg

from ...domain.delivery import ClaimRequest, ClaimT, Finished, Released
from ...errors import StoreUnavailable
from ..pool import Pool, reached
from .scan_floor import ScanFloors

__all__ = ["LeasedQueue", "Statements"]

_EXPIRED_AT_ONCE = 500


class Statements(Protocol):
    """The SQL of a queue; a module of its own has it."""

    CLAIM: str
    FINISH: str
    RELEASE: str
    BURY_EXPIRED: str


class LeasedQueue(ABC, Generic[ClaimT]):
    """One dispatcher's view of a queue. What differs are the statements, and the columns of their rows."""

    _sql: Statements

    def __init__(self, pool: Pool, clock: Callable[[], float] = time.monotonic) -> None:
        """Take a pool opened with the settings `SESSION` of `queue.py`. Its holder gets an id."""
        self._pool = pool
        self._id = uuid.uuid4()
        self._floors = ScanFloors(clock)

    @staticmethod
    @abstractmethod
    def _asked(shares: Sequence[ClaimRequest]) -> Iterable[Sequence[object]]:
        """Return the columns of the shares as CLAIM takes them, in front of floors, lease and holder."""

    @staticmethod
    @abstractmethod
    def _claim(row: asyncpg.Record) -> ClaimT:
        """Return what was claimed."""

    @staticmethod
    @abstractmethod
    def _finished_row(finished: Finished[ClaimT]) -> tuple[object, ...]:
        """Return what is recorded of an attempt."""

    async def claim(self, shares: Sequence[ClaimRequest], lease: float) -> list[ClaimT]:
        """Claim what is due of each lane, up to its share, for `lease` seconds.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        floors = [self._floors.of(share.lane) for share in shares]
        try:
            async with reached():
                rows = await self._pool.fetch(self._sql.CLAIM, *self._asked(shares), floors, lease, self._id)
        except StoreUnavailable:
            self._floors.begin_anew()
            raise
        claims = [self._claim(row) for row in rows if row["id"] is not None]  # one row always tells the time
        came = Counter(claim.lane for claim in claims)
        self._floors.looked(shares, came, rows[0]["reached"], rows[0]["at"])
        return claims

    async def finish(self, finished: Sequence[Finished[ClaimT]]) -> None:
        """Record attempts and take what they were of off the queue or put it back, in one commit.

        Raises:
            StoreUnavailable: the database cannot be reached; call again with the same.
        """
        columns = zip(*map(self._finished_row, finished), strict=True)
        async with reached():
            await self._pool.execute(self._sql.FINISH, *map(list, columns), self._id)

    async def hand_back(self, returned: Sequence[Released[ClaimT]]) -> None:
        """Give claims back undone; they are due after their wait, and no attempt is counted.

        Raises:
            StoreUnavailable: the database cannot be reached; the leases will run out instead.
        """
        ids, numbers = [one.claim.id for one in returned], [one.claim.attempt for one in returned]
        waits = [one.wait for one in returned]
        async with reached():
            await self._pool.execute(self._sql.RELEASE, ids, numbers, waits, self._id)

    async def bury_expired(self, error: str) -> int:
        """Give up what has expired while nobody held it; return how many.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        async with reached():
            return len(await self._pool.fetch(self._sql.BURY_EXPIRED, _EXPIRED_AT_ONCE, error))
