"""The group committer: a trigger is accepted when the commit that holds it is on disk.

Whatever arrives while one commit is in flight forms the next one. A lone trigger is committed at once. While
triggers come together, the next commit waits a moment for more of them: a commit costs the same CPU for one
trigger as for ten, on both sides, so this is what a busy server's throughput hangs on.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from ...domain.idempotency import IdempotencyKey
from ...domain.placement import Placement, ValidTrigger
from ...domain.trigger import Trigger
from ...errors import Overloaded, StoreUnavailable
from ..pool import Pool, reached
from . import sql
from .commit import CommitResult, TriggerCommit, known_of, same
from .notify import Notifier

__all__ = ["REMEMBER", "TriggerWriter"]

REMEMBER = 86_400.0
"""Seconds for which an idempotency key stands for its trigger."""
_MAX_BATCH = 500
"""Triggers in one commit, but for those of a call that brings more: it is not divided."""
_GATHER_SECONDS = 0.003


@dataclass(slots=True)
class _Call:
    """What one call brought: it is in one commit, perhaps with others."""

    entries: Sequence[ValidTrigger]
    done: asyncio.Future[Sequence[CommitResult]]


class TriggerWriter:
    """Accepts triggers durably, many to a commit."""

    def __init__(
        self, pool: Pool, announcer: Notifier, *, max_pending: int, remember: float = REMEMBER
    ) -> None:
        """Take the pool to write to, and how many triggers may wait before callers are refused.

        An idempotency key stands for its trigger for `remember` seconds.
        """
        self._remember = remember
        self._pool = pool
        self._keeper = TriggerCommit(pool, remember)
        self._announcer = announcer
        self._max_pending = max_pending
        self._waiting: list[_Call] = []
        self._pending = 0
        self._arrived = asyncio.Event()

    async def add(self, trigger: Trigger, place: Placement, once: IdempotencyKey | None = None) -> uuid.UUID:
        """Return when the trigger is on disk and in its place in the queue.

        Returns the trigger's id; or that of an earlier one which `once` stands for, and then nothing is kept
        of this one.

        Raises:
            IdempotencyKeyReused: the key of `once` stands for other content.
            Overloaded: too many triggers wait already.
            StoreUnavailable: the database cannot be reached.
        """
        (kept,) = await self.add_all([ValidTrigger(trigger, place, once)])
        if isinstance(kept, Exception):
            raise kept
        return kept

    async def add_all(self, entries: Sequence[ValidTrigger]) -> Sequence[CommitResult]:
        """Return when all entries are on disk, in one commit; what `add` returns or raises of each.

        Of several with one key the first stands for it. Only what PostgreSQL itself refuses, a fault of ours,
        is an error that others do not share, and divides the commit; then some may be StoreUnavailable.

        Raises:
            Overloaded: too many triggers wait already.
            StoreUnavailable: the database cannot be reached, for any of them.
        """
        if not entries:
            return []
        # Who finds room for one gets it for all: else a large call would never find it beside small ones.
        if self._pending >= self._max_pending:
            raise Overloaded
        done: asyncio.Future[Sequence[CommitResult]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Call(entries, done))
        self._pending += len(entries)
        self._arrived.set()
        return await done

    async def earlier(self, asked: Sequence[tuple[Trigger, IdempotencyKey]]) -> Sequence[CommitResult | None]:
        """Return for each the id of an earlier trigger that its key stands for, if any; keep nothing.

        Where the key stands for other content, it is IdempotencyKeyReused.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        names = [(trigger.project_id, once.key) for trigger, once in asked]
        async with reached():
            rows = await self._pool.fetch(sql.EARLIER, *map(list, zip(*names, strict=True)), self._remember)
        known = known_of(rows)
        return [
            same(*known[name], once) if name in known else None
            for name, (_, once) in zip(names, asked, strict=True)
        ]

    async def run(self) -> None:
        """Commit what arrives, until cancelled."""
        try:
            await self._commit_forever()
        finally:
            self._keeper.drop()
            _settle(self._waiting, StoreUnavailable("The server stops; the trigger was not accepted."))

    async def _commit_forever(self) -> None:
        crowded = False
        while True:
            await self._arrived.wait()
            if crowded:
                await asyncio.sleep(_GATHER_SECONDS)
            crowded = len(self._waiting) > 1
            # A caller that gave up before its commit began is told nothing, so nothing is kept.
            await self._commit([call for call in self._next() if not call.done.done()])

    def _next(self) -> list[_Call]:
        """Take the calls of the next commit from those that wait."""
        count = taken = 0
        while count < len(self._waiting) and taken < _MAX_BATCH:
            taken += len(self._waiting[count].entries)
            count += 1
        calls, self._waiting = self._waiting[:count], self._waiting[count:]
        self._pending -= taken
        if not self._waiting:
            self._arrived.clear()
        return calls

    async def _commit(self, calls: list[_Call]) -> None:
        if not calls:
            return
        try:
            kept = await self._keeper.keep([entry for call in calls for entry in call.entries])
        except asyncio.CancelledError:
            _settle(calls, StoreUnavailable("The server stops; the trigger may or may not be accepted."))
            raise
        except StoreUnavailable as error:
            _settle(calls, error)
        else:
            _accept(calls, kept)
            self._announcer.notify()


def _accept(calls: list[_Call], kept: Sequence[CommitResult]) -> None:
    """Tell each caller what was kept for it."""
    start = 0
    for call in calls:
        end = start + len(call.entries)
        if not call.done.done():
            call.done.set_result(kept[start:end])
        start = end


def _settle(calls: list[_Call], error: Exception) -> None:
    for call in calls:
        if not call.done.done():
            call.done.set_exception(error)
