"""Coalescing: triggers that callers of one event loop submit at the same time share a call.

The first callers are sent immediately; those that arrive while calls are in progress form the next one. No
caller waits for a timer, and a single caller waits for nothing. The busier Clarion is, the larger the batches
become, and the less each trigger costs on both sides. Each caller awaits its own result, so there are never
more messages pending than callers.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from .calls import Outcome
from .errors import ClarionError, RateLimited, final, timed_out
from .prepare import Prepared, portion
from .results import Accepted
from .retry import MIN_ATTEMPT, attempt_timeout, pause_before_retry

__all__ = ["Coalescer"]

Send = Callable[[Sequence[Prepared], float], Awaitable[Sequence[Outcome]]]
"""Makes one call for all messages, within this many seconds; returns the outcome of each, in their order."""

_MAX_CALLS = 2
"""Calls in progress at once: while one is being answered, the next is on its way. 1, 3 or 4 gain nothing."""
_SLOT_SECONDS = 0.25
"""Seconds after which a call no longer counts as in progress: its server may hang while others do not."""


@dataclass(slots=True, eq=False)
class _Caller:
    prepared: Prepared
    deadline: float
    """On the event loop's clock."""
    result: asyncio.Future[Accepted]
    """Also done if the caller was cancelled, or its deadline has passed."""
    failures: int = 0
    """Number of failed attempts."""
    last_error: ClarionError | None = None
    """The error of the last of them."""
    in_flight: bool = False
    """Whether a call with its message is in progress."""

    def resolve(self, outcome: Accepted | Exception) -> None:
        """Pass the outcome to the caller, if it still waits."""
        if self.result.done():
            return
        if isinstance(outcome, Accepted):
            self.result.set_result(outcome)
        elif isinstance(outcome, ClarionError):
            self.result.set_exception(final(outcome, self.last_error))
        else:
            self.result.set_exception(outcome)

    def may_be_sent(self, now: float) -> bool:
        """Return whether the caller still waits, and has enough time left for a retry."""
        return not self.result.done() and (self.last_error is None or self.deadline - now >= MIN_ATTEMPT)

    def expire(self) -> None:
        """Fail the caller because its deadline has passed.

        If it was rate-limited and is not in flight, its trigger was certainly not accepted: it gets
        RateLimited.
        """
        rejected = isinstance(self.last_error, RateLimited) and not self.in_flight
        self.resolve(self.last_error if self.last_error and rejected else timed_out(self.prepared.request_id))


class Coalescer:
    """Groups the messages of one event loop's callers into calls."""

    def __init__(self, send: Send, max_calls: int = _MAX_CALLS, slot_seconds: float = _SLOT_SECONDS) -> None:
        """Create a coalescer without callers.

        Args:
            send: Makes one call.
            max_calls: Number of calls that may be in progress at once.
            slot_seconds: Seconds after which a call no longer counts as in progress.
        """
        self._send = send
        self._max_calls = max_calls
        self._slot_seconds = slot_seconds
        self._pending: deque[_Caller] = deque()
        self._results: set[asyncio.Future[Accepted]] = set()
        self._calls: set[asyncio.Task[None]] = set()
        self._in_flight: set[asyncio.Task[None]] = set()
        """The calls that count as in progress."""
        self._scheduled = False

    def submit(self, prepared: Prepared, seconds: float) -> asyncio.Future[Accepted]:
        """Send a message together with others, and return its result as if it had been sent alone.

        Args:
            prepared: The message.
            seconds: Timeout.

        Returns:
            The result, or a ClarionError if the trigger is rejected or not answered in time. Cancel it to
            withdraw the message.
        """
        loop = asyncio.get_running_loop()
        caller = _Caller(prepared, loop.time() + seconds, loop.create_future())
        timer = loop.call_at(caller.deadline, caller.expire)
        self._results.add(caller.result)
        caller.result.add_done_callback(partial(self._forget, timer))
        self._enqueue(caller)
        return caller.result

    async def drain(self) -> None:
        """Wait until every caller has its result."""
        while waiting := self._results | self._calls:
            await asyncio.wait(waiting)

    def _forget(self, timer: asyncio.TimerHandle, result: asyncio.Future[Accepted]) -> None:
        timer.cancel()
        self._results.discard(result)

    def _enqueue(self, caller: _Caller) -> None:
        self._pending.append(caller)
        self._schedule()

    def _schedule(self) -> None:
        """Start batches after all tasks that are ready now have run, so that their messages share a call."""
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._start_batches)

    def _start_batches(self) -> None:
        """Start as many calls as may be in progress."""
        self._scheduled = False
        now = asyncio.get_running_loop().time()
        while self._pending and len(self._in_flight) < self._max_calls:
            count = portion(one.prepared.size for one in self._pending)
            first = [self._pending.popleft() for _ in range(count)]
            if batch := [caller for caller in first if caller.may_be_sent(now)]:
                self._start(batch)

    def _start(self, batch: Sequence[_Caller]) -> None:
        for caller in batch:
            caller.in_flight = True
        loop = asyncio.get_running_loop()
        call = loop.create_task(self._send_batch(batch))
        self._calls.add(call)
        self._in_flight.add(call)
        timer = loop.call_later(self._slot_seconds, self._release_slot, call)
        call.add_done_callback(partial(self._on_done, timer))

    def _release_slot(self, call: asyncio.Task[None]) -> None:
        self._in_flight.discard(call)
        self._schedule()

    def _on_done(self, timer: asyncio.TimerHandle, call: asyncio.Task[None]) -> None:
        timer.cancel()
        self._calls.discard(call)
        self._release_slot(call)

    async def _send_batch(self, batch: Sequence[_Caller]) -> None:
        """Make one call, within the latest of its callers' deadlines."""
        left = max(caller.deadline for caller in batch) - asyncio.get_running_loop().time()
        try:
            outcomes = await self._send([caller.prepared for caller in batch], attempt_timeout(left))
        except Exception as error:  # a bug in the client; only these callers are affected
            for caller in batch:
                caller.resolve(error)
            return
        # All share one random number and one clock, so that messages that failed together are retried
        # together.
        chance, now = random.random(), asyncio.get_running_loop().time()  # noqa: S311
        for caller, outcome in zip(batch, outcomes, strict=True):
            self._handle(caller, outcome, chance, now)

    def _handle(self, caller: _Caller, outcome: Outcome, chance: float, now: float) -> None:
        """Pass the outcome to the caller, or retry its message after a pause."""
        caller.in_flight = False
        if isinstance(outcome, Accepted):
            caller.resolve(outcome)
            return
        seconds = pause_before_retry(outcome, caller.failures, caller.deadline - now, lambda: chance)
        if seconds is None:
            caller.resolve(outcome)
        elif not caller.result.done():
            caller.failures, caller.last_error = caller.failures + 1, outcome
            asyncio.get_running_loop().call_at(now + seconds, self._enqueue, caller)
