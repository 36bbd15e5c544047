"""Group commit: a trigger is accepted when the commit that holds it is on disk.

Triggers that arrive while one commit is in flight form the next one. A single trigger is committed at once.
While several arrive together, the next commit waits a moment for more: one commit costs nearly the same CPU
for ten triggers as for one, in the server and in PostgreSQL, so the throughput of a busy server depends on
it.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from ...domain.idempotency import IdempotencyKey
from ...domain.placement import Placement, ValidTrigger
from ...domain.trigger import Trigger
from ...errors import Overloaded, StoreUnavailable
from ...tracing import is_on, is_recorded, record
from ..pool import Pool, reached
from ..replication import confirm_replicated
from . import metrics
from .commit import CommitResult, TriggerCommit, known_keys, result_for
from .notify import Notifier
from .statements import SQL

__all__ = ["KEY_LIFETIME", "TriggerWriter"]

KEY_LIFETIME = 86_400.0
"""Seconds after which an idempotency key may be used for another trigger."""
_MAX_BATCH = 500
"""Triggers in one commit. A call with more is not divided: all its triggers are in one commit."""
_GATHER_SECONDS = 0.003

_FIND_EARLIER = SQL["find_earlier"]


@dataclass(slots=True)
class _Call:
    """The entries of one call. They are in one commit, possibly with those of other calls."""

    entries: Sequence[ValidTrigger]
    done: asyncio.Future[Sequence[CommitResult]]


class TriggerWriter:
    """Accepts triggers durably, many to a commit.

    Args:
        pool: The database to write to.
        notifier: Notified after each commit.
        max_pending: Triggers that may wait for a commit; further calls are rejected.
        key_lifetime: Seconds after which an idempotency key may be used for another trigger.
        sleep: Replaces `asyncio.sleep` in tests.
    """

    def __init__(
        self,
        pool: Pool,
        notifier: Notifier,
        *,
        max_pending: int,
        key_lifetime: float = KEY_LIFETIME,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._pool = pool
        self._commit = TriggerCommit(pool, key_lifetime)
        self._notifier = notifier
        self._max_pending = max_pending
        self._key_lifetime = key_lifetime
        self._sleep = sleep
        self._waiting: list[_Call] = []
        self._pending = 0
        self._arrived = asyncio.Event()

    @property
    def pending(self) -> int:
        """Triggers that wait for their commit to begin."""
        return self._pending

    async def add(self, trigger: Trigger, place: Placement, key: IdempotencyKey | None = None) -> uuid.UUID:
        """Return the trigger's id once the trigger is on disk and queued.

        If the key belongs to an earlier trigger, that trigger's id is returned and this one is not
        stored.

        Raises:
            IdempotencyKeyReused: The key was used for other content.
            Overloaded: Too many triggers are waiting.
            StoreUnavailable: The database cannot be reached.
        """
        (result,) = await self.add_all([ValidTrigger(trigger, place, key)])
        if isinstance(result, Exception):
            raise result
        return result

    async def add_all(self, entries: Sequence[ValidTrigger]) -> Sequence[CommitResult]:
        """Commit all entries together; return for each what `add` returns or raises.

        If several have the same key, it belongs to the first. Results differ between entries only if
        PostgreSQL rejects a row, which is a bug: then the commit is divided, and some results may be
        StoreUnavailable.

        Raises:
            Overloaded: Too many triggers are waiting.
            StoreUnavailable: The database cannot be reached, and no entry was written.
        """
        if not entries:
            return []
        # Admit a call if there is room for one entry; otherwise large batches would starve next to small
        # calls.
        if self._pending >= self._max_pending:
            raise Overloaded
        done: asyncio.Future[Sequence[CommitResult]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Call(entries, done))
        self._pending += len(entries)
        self._arrived.set()
        return await done

    async def earlier(self, keyed: Sequence[tuple[Trigger, IdempotencyKey]]) -> Sequence[CommitResult | None]:
        """Return the id of the earlier trigger that each key belongs to, or None. Store nothing.

        If the key was used for other content, the result is IdempotencyKeyReused.

        Raises:
            StoreUnavailable: The database cannot be reached.
        """
        names = [(trigger.project_id, key.key) for trigger, key in keyed]
        values = {
            "project_ids": [project_id for project_id, _ in names],
            "keys": [key for _, key in names],
            "lifetime": self._key_lifetime,
        }
        async with reached(), self._pool.acquire() as connection:
            rows = await connection.fetch(*_FIND_EARLIER(**values))
            if rows:  # their commit may have stopped waiting before a replica had it
                await confirm_replicated(connection)
        known = known_keys(rows)
        return [
            result_for(key, trigger, *known[name]) if name in known else None
            for name, (trigger, key) in zip(names, keyed, strict=True)
        ]

    async def run(self) -> None:
        """Commit what arrives, until cancelled."""
        try:
            await self._run_commits()
        finally:
            self._commit.drop()
            _fail(self._waiting, StoreUnavailable("The server is stopping; the trigger was not accepted."))

    async def _run_commits(self) -> None:
        crowded = False
        while True:
            await self._arrived.wait()
            if crowded:
                await self._sleep(_GATHER_SECONDS)
            crowded = len(self._waiting) > 1
            # Skip callers that gave up before their commit began: they would not receive a result.
            await self._write([call for call in self._next_calls() if not call.done.done()])

    def _next_calls(self) -> list[_Call]:
        """Remove the calls of the next commit from those that wait, and return them."""
        count = triggers = 0
        while count < len(self._waiting) and triggers < _MAX_BATCH:
            triggers += len(self._waiting[count].entries)
            count += 1
        calls, self._waiting = self._waiting[:count], self._waiting[count:]
        self._pending -= triggers
        if not self._waiting:
            self._arrived.clear()
        return calls

    async def _write(self, calls: list[_Call]) -> None:
        if not calls:
            return
        began, started_ns = time.perf_counter(), time.time_ns()
        entries = [entry for call in calls for entry in call.entries]
        try:
            results = await self._commit.write(entries)
        except asyncio.CancelledError:
            _fail(
                calls,
                StoreUnavailable("The server is stopping; the trigger may or may not have been accepted."),
            )
            raise
        except StoreUnavailable as error:
            metrics.commit_failed()
            if is_on():
                _record(calls, started_ns, len(entries), error=type(error).__name__)
            _fail(calls, error)
        else:
            metrics.committed(len(entries), time.perf_counter() - began)
            if is_on():
                _record(calls, started_ns, len(entries))
            _return(calls, results)
            self._notifier.notify()


def _record(calls: list[_Call], started_ns: int, triggers: int, *, error: str = "") -> None:
    """Record a commit in the trace of each of its calls that is recorded.

    One span that is linked to the calls would be missing in their traces, and has room for only 128
    links.

    Args:
        calls: The calls.
        started_ns: When the commit started, in nanoseconds since 1970.
        triggers: Number of triggers in the commit.
        error: The class of its error; empty if it succeeded.
    """
    for call in calls:
        first = call.entries[0].trigger
        if is_recorded(first.traceparent):
            attributes: dict[str, str | int | bool] = {
                "db.system.name": "postgresql",
                "db.operation.batch.size": triggers,
            }
            if len(call.entries) == 1:
                attributes |= {
                    "messaging.message.id": str(first.id),
                    "clarion.campaign.id": first.campaign_id,
                }
            record("commit", first.traceparent, started_ns, attributes, error=error)


def _return(calls: list[_Call], results: Sequence[CommitResult]) -> None:
    """Return to each caller the results for its entries."""
    start = 0
    for call in calls:
        end = start + len(call.entries)
        if not call.done.done():
            call.done.set_result(results[start:end])
        start = end


def _fail(calls: list[_Call], error: Exception) -> None:
    """Raise the error in all callers that still wait."""
    for call in calls:
        if not call.done.done():
            call.done.set_exception(error)
