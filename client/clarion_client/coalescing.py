"""Many callers, few calls: what callers of one event loop trigger at the same time travels together.

Callers of one moment share a call; those that come while calls are under way form the next one. A lone caller
waits for nobody, and nothing waits for a timer: the busier Clarion is, the larger the batches become, and the
less each trigger costs on both sides. Every caller waits for its own answer, so no more stand in line than
there are callers.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from .answers import Accepted
from .calls import Outcome
from .errors import ClarionError, RateLimited, final, timed_out
from .messages import Prepared, portion
from .retry import LEAST, limit, pause

__all__ = ["Coalescer"]

Send = Callable[[Sequence[Prepared], float], Awaitable[Sequence[Outcome]]]
"""Makes one call for all, within so many seconds; returns what became of each, in their order."""

_CALLS = 2
"""Under way at once: while one is being answered, the next is on its way. With 1, 3 or 4 it is as quick."""
_PATIENCE = 0.25
"""Seconds after which a call holds up no others: the server that it reached may hang, and others not."""


@dataclass(slots=True, eq=False)
class _Caller:
    prepared: Prepared
    deadline: float
    """On the loop's clock."""
    answer: asyncio.Future[Accepted]
    """Done as well when the caller was cancelled, or is past its deadline."""
    failed: int = 0
    """Tries so far."""
    before: ClarionError | None = None
    """What the last of them met."""
    travels: bool = False
    """Whether a call with it is under way."""

    def settle(self, outcome: Accepted | Exception) -> None:
        """Tell the caller, if it still waits."""
        if self.answer.done():
            return
        if isinstance(outcome, Accepted):
            self.answer.set_result(outcome)
        elif isinstance(outcome, ClarionError):
            self.answer.set_exception(final(outcome, self.before))
        else:
            self.answer.set_exception(outcome)

    def may_travel(self, now: float) -> bool:
        """Tell whether it still waits, and not for its last moments alone: another try needs some."""
        return not self.answer.done() and (self.before is None or self.deadline - now >= LEAST)

    def expire(self) -> None:
        """Tell the caller that its time is over: as long as it waits for its turn, what it met is known."""
        refused = isinstance(self.before, RateLimited) and not self.travels
        self.settle(self.before if self.before and refused else timed_out(self.prepared.request_id))


class Coalescer:
    """Gathers the callers of one event loop."""

    def __init__(self, send: Send, calls: int = _CALLS, patience: float = _PATIENCE) -> None:
        """Take what makes a call, how many may be under way, and for how many seconds one counts as that."""
        self._send = send
        self._most_calls = calls
        self._patience = patience
        self._line: deque[_Caller] = deque()
        self._answers: set[asyncio.Future[Accepted]] = set()
        self._calls: set[asyncio.Task[None]] = set()
        self._in_the_way: set[asyncio.Task[None]] = set()
        self._woken = False

    def submit(self, prepared: Prepared, seconds: float) -> asyncio.Future[Accepted]:
        """Return what will be the answer, as if the trigger travelled alone: cancel it to withdraw.

        It becomes a ClarionError if the trigger is refused, or not answered within so many seconds.
        """
        loop = asyncio.get_running_loop()
        caller = _Caller(prepared, loop.time() + seconds, loop.create_future())
        timer = loop.call_at(caller.deadline, caller.expire)
        self._answers.add(caller.answer)
        caller.answer.add_done_callback(partial(self._leave, timer))
        self._join(caller)
        return caller.answer

    async def drain(self) -> None:
        """Return when every caller has its answer."""
        while pending := self._answers | self._calls:
            await asyncio.wait(pending)

    def _leave(self, timer: asyncio.TimerHandle, answer: asyncio.Future[Accepted]) -> None:
        timer.cancel()
        self._answers.discard(answer)

    def _join(self, caller: _Caller) -> None:
        self._line.append(caller)
        self._wake()

    def _wake(self) -> None:
        """Look at the line once all that can run now has run, so that callers of one moment meet there."""
        if not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._depart)

    def _depart(self) -> None:
        """Begin as many calls as may be under way."""
        self._woken = False
        now = asyncio.get_running_loop().time()
        while self._line and len(self._in_the_way) < self._most_calls:
            first = [self._line.popleft() for _ in range(portion(one.prepared.size for one in self._line))]
            if batch := [caller for caller in first if caller.may_travel(now)]:
                self._begin(batch)

    def _begin(self, batch: Sequence[_Caller]) -> None:
        for caller in batch:
            caller.travels = True
        loop = asyncio.get_running_loop()
        call = loop.create_task(self._travel(batch))
        self._calls.add(call)
        self._in_the_way.add(call)
        timer = loop.call_later(self._patience, self._make_way, call)
        call.add_done_callback(partial(self._arrive, timer))

    def _make_way(self, call: asyncio.Task[None]) -> None:
        self._in_the_way.discard(call)
        self._wake()

    def _arrive(self, timer: asyncio.TimerHandle, call: asyncio.Task[None]) -> None:
        timer.cancel()
        self._calls.discard(call)
        self._make_way(call)

    async def _travel(self, batch: Sequence[_Caller]) -> None:
        """Make one call, within the deadline of the most patient of its callers."""
        left = max(caller.deadline for caller in batch) - asyncio.get_running_loop().time()
        try:
            outcomes = await self._send([caller.prepared for caller in batch], limit(left))
        except Exception as error:  # a fault of ours is told to those whom it concerns
            for caller in batch:
                caller.settle(error)
            return
        # One chance and one clock for all: those who failed together come again together.
        chance, now = random.random(), asyncio.get_running_loop().time()  # noqa: S311
        for caller, outcome in zip(batch, outcomes, strict=True):
            self._conclude(caller, outcome, chance, now)

    def _conclude(self, caller: _Caller, outcome: Outcome, chance: float, now: float) -> None:
        """Tell the caller, or let it join the line again after a pause."""
        caller.travels = False
        if isinstance(outcome, Accepted):
            caller.settle(outcome)
            return
        seconds = pause(outcome, caller.failed, caller.deadline - now, lambda: chance)
        if seconds is None:
            caller.settle(outcome)
        elif not caller.answer.done():
            caller.failed, caller.before = caller.failed + 1, outcome
            asyncio.get_running_loop().call_at(now + seconds, self._join, caller)
