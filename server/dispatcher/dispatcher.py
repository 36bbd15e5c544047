"""The dispatcher: claims what is due, sends it concurrently, and records the outcomes."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Generic

import structlog

from ..domain.clock import SYSTEM_CLOCK, Clock
from ..domain.delivery import ClaimRequest, ClaimT, Finished, Leased, Released
from ..errors import StoreUnavailable
from .attempt import EXPIRED, EXPIRED_IN_DOUBT, AttemptRunner
from .circuit_breaker import BreakerState
from .leases import Leases
from .ports import Lanes, Queue, Sender
from .recorder import Recorder
from .redact import safe_traceback
from .router import ProviderRouter
from .settings import DispatchSettings
from .store_health import StoreHealth

__all__ = ["Dispatcher"]

UNRECORDED_LIMIT = 10_000
"""Maximum number of unrecorded outcomes; at this number the dispatcher stops claiming."""
LAST_COMMIT = 1.0
"""Seconds reserved for the last recording, even if sends used up the grace period."""
HOUSEKEEPING = 5.0
"""Seconds between searches for new lanes and expired messages."""
LINGER = 0.01
"""Seconds to wait after a slot becomes free, so that one query can claim messages for several slots. A query
takes as much CPU as sending a message."""


class Dispatcher(Generic[ClaimT]):
    """Delivers messages until stopped. Each provider has its own slots, so a slow one does not delay others.

    Args:
        queue: The queue to claim from.
        source: Returns the lanes of all campaigns or endpoints. The queue may have others, of deleted ones.
        sender: Plans, sends and reports this kind of message.
        router: The providers' slots, breakers and rates.
        settings: Lease, poll interval and grace period.
        clock: Measures all waits.
        on_room: Called with the lanes that have fewer messages than could be sent.
    """

    def __init__(
        self,
        queue: Queue[ClaimT],
        source: Lanes,
        sender: Sender[ClaimT],
        router: ProviderRouter,
        settings: DispatchSettings,
        *,
        clock: Clock = SYSTEM_CLOCK,
        on_room: Callable[[Collection[str]], None] = lambda _: None,
    ) -> None:
        self._queue = queue
        self._source = source
        self._settings = settings
        self._sender = sender
        self._attempts = AttemptRunner(sender, clock)
        self._router = router
        self._clock = clock
        self._on_room = on_room
        self._log = structlog.get_logger("clarion.dispatch").bind()
        self._wake = asyncio.Event()
        self._queue_health = StoreHealth("queue")
        self._catalog_health = StoreHealth("campaigns")
        self._recorder = Recorder(queue, self._queue_health, self._wake.set, clock)
        self._leases = Leases(queue, settings.lease, self._queue_health, clock)
        self._lanes_of_queue: set[str] = set()
        self._short_of_slots: frozenset[str] = frozenset()
        """Providers for which more messages may be due than the last round could claim."""
        self._sends: dict[asyncio.Task[None], ClaimT] = {}
        self._listener: asyncio.Task[None] | None = None
        self._lingering: asyncio.Task[None] | None = None
        self._stopping = False

    def breaker_states(self) -> dict[str, BreakerState]:
        """Return the state of each provider's breaker."""
        return self._router.breaker_states()

    def stop(self) -> None:
        """Stop claiming. `run` then waits for sends in flight and returns. May be called at any time."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Deliver until `stop` is called. If cancelled instead, do not wait for sends in flight."""
        loops = (self._recorder.run(), self._leases.run(), self._housekeep())
        helpers = [asyncio.create_task(loop) for loop in loops]
        try:
            await self._claim_until_stopped()
            await self._finish_up()
        finally:
            await _end([*helpers, *self._sends, *filter(None, (self._listener, self._lingering))])

    async def _claim_until_stopped(self) -> None:
        while not self._stopping:
            self._wake.clear()
            if not self._is_behind():
                self._listen()  # before the claim, so that no announcement is missed between the two
                await self._claim_round()
                if self._can_claim_more():
                    continue
            await self._wait()

    async def _claim_round(self) -> None:
        """Claim from all lanes. If slots are scarce, some lanes get only those that others did not use."""
        lanes: Collection[str] = self._lanes_of_queue | set(self._source.lanes())
        short: frozenset[str] = frozenset()
        while lanes and not self._stopping:
            plan = self._router.plan(lanes)
            claims = await self._claim(plan.shares)
            with_room = _with_room(plan.shares, claims)
            short |= plan.starved | {one.provider for one in plan.shares if one.lane not in with_room}
            for claim in claims:
                self._start(claim)
            self._on_room(with_room)
            lanes = () if self._pause else plan.left_out
        self._short_of_slots = short

    async def _housekeep(self) -> None:
        """Regularly look for lanes without a campaign, and turn expired messages into dead letters."""
        while True:
            try:
                lanes = await self._queue.lanes()
                while expired := await self._queue.bury_expired(EXPIRED, EXPIRED_IN_DOUBT):
                    self._sender.expired(expired)
            except StoreUnavailable:  # logged when a claim fails
                lanes = self._lanes_of_queue
            except Exception as error:  # the next run may succeed
                self._log.error("housekeeping_failed", exception=safe_traceback(error))
                lanes = self._lanes_of_queue
            if new := lanes - self._lanes_of_queue:
                self._wake.set()
                self._warn_about_unserved(new)
            self._lanes_of_queue = lanes
            await self._clock.sleep(HOUSEKEEPING)

    def _warn_about_unserved(self, lanes: set[str]) -> None:
        """Log the campaigns' lanes without a configured provider. Messages in other lanes will be moved."""
        for lane in sorted(lanes & set(self._source.lanes())):
            if not self._router.serves(lane):
                self._log.warning("lane_without_provider", lane=lane)

    def _can_claim_more(self) -> bool:
        """Return whether a provider that had too few slots has room again."""
        return not self._pause and any(self._router.room(name) for name in self._short_of_slots)

    def _is_behind(self) -> bool:
        """Return whether claiming must wait until outcomes are recorded."""
        return self._recorder.behind or self._recorder.unrecorded >= UNRECORDED_LIMIT

    async def _wait(self) -> None:
        """Wait until woken, until a provider's breaker or rate allows another message, or for `_pause`."""
        if self._pause and not self._stopping:
            await self._sleep_until_stopped(self._pause)
            return
        held_up = self._router.wait()
        with contextlib.suppress(TimeoutError):
            async with self._clock.timeout(held_up if held_up < math.inf else None):
                await self._wake.wait()

    @property
    def _pause(self) -> float:
        """Seconds to wait because the store is unavailable; 0 while it is available."""
        return max(self._queue_health.pause, self._catalog_health.pause)

    async def _sleep_until_stopped(self, seconds: float) -> None:
        """Sleep for this long, or until stopped."""
        with contextlib.suppress(TimeoutError):
            async with self._clock.timeout(seconds):
                while not self._stopping:
                    await self._wake.wait()
                    if not self._stopping:
                        self._wake.clear()

    def _listen(self) -> None:
        """Ensure that the loop is woken when the queue announces work, or when the poll interval ends."""
        if self._listener is None or self._listener.done():
            self._listener = asyncio.create_task(self._await_announcement())

    async def _await_announcement(self) -> None:
        try:
            await self._queue.wait(self._settings.poll_interval)
        except Exception:  # the claim that follows shows whether the store is available
            await self._clock.sleep(self._settings.poll_interval)
        self._wake.set()

    async def _claim(self, shares: Sequence[ClaimRequest]) -> list[ClaimT]:
        if not shares:
            return []
        try:
            claims = await self._queue.claim(shares, self._settings.lease)
        except Exception as error:
            self._queue_health.failed(error)
            return []
        self._queue_health.succeeded()
        return claims

    def _start(self, claim: ClaimT) -> None:
        """Start an attempt in a task, unless this dispatcher is still working on the same message."""
        # That happens if our lease ended early: the database's clock jumped, or recording takes very long.
        if claim.id in self._leases or self._recorder.has(claim.id):
            self._recorder.released(Released(claim, self._settings.lease))
            return
        self._leases.add(claim)
        self._router.began(claim.provider)
        task = asyncio.create_task(self._attempt(claim))
        self._sends[task] = claim
        task.add_done_callback(self._ended)

    async def _attempt(self, claim: ClaimT) -> None:
        result = None
        gate = self._router.gate(claim.provider)
        waits = gate.locked()
        try:
            async with gate:
                if self._stopping or not self._may_begin(claim, waited=waits):
                    self._recorder.released(Released(claim))
                    return
                with self._router.measured(claim.provider):
                    attempted = await self._attempts.attempt(claim)
        except StoreUnavailable as error:
            self._catalog_health.failed(error)
            self._recorder.released(Released(claim))
        else:
            self._catalog_health.succeeded()
            result = attempted.result
            if isinstance(attempted.outcome, Finished):
                self._recorder.finished(attempted.outcome)
            else:
                self._recorder.released(attempted.outcome)
        finally:
            self._router.ended(claim.provider, result)

    def _may_begin(self, claim: ClaimT, *, waited: bool) -> bool:
        """Return whether a claim, which may have waited for a connection, can still be sent."""
        return self._leases.is_valid(claim) and self._router.may_begin(claim.provider, waited=waited)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Clean up after an attempt, and wake the loop if the free slot can be used.

        If the attempt was cancelled before it began, its claim is released.
        """
        claim = self._sends.pop(task)
        self._leases.remove(claim)
        if task.cancelled():
            self._recorder.released(Released(claim))
        elif error := task.exception():
            self._log.error("dispatch_fault", id=str(claim.id), exception=safe_traceback(error))
        if claim.provider in self._short_of_slots:
            self._claim_soon(claim.provider)

    def _claim_soon(self, provider: str) -> None:
        """Wake the loop at once if a quarter of the slots is free, otherwise after `LINGER`."""
        if self._router.is_roomy(provider):
            self._wake.set()
        elif self._lingering is None or self._lingering.done():
            self._lingering = asyncio.create_task(self._linger())

    async def _linger(self) -> None:
        await self._clock.sleep(LINGER)
        self._wake.set()

    async def _finish_up(self) -> None:
        """Wait for sends and their recording. Cut off sends that take longer than the grace period."""
        deadline = self._clock.monotonic() + self._settings.shutdown_grace
        if self._sends:
            with contextlib.suppress(TimeoutError):
                async with self._clock.timeout(self._settings.shutdown_grace):
                    await asyncio.wait(self._sends)
        await _end(list(self._sends))
        try:
            async with self._clock.timeout(max(deadline - self._clock.monotonic(), LAST_COMMIT)):
                await self._recorder.drained()
        except TimeoutError:
            self._log.error("outcomes_unrecorded", count=self._recorder.unrecorded)


def _with_room(shares: Sequence[ClaimRequest], claims: Sequence[Leased]) -> frozenset[str]:
    """Return the lanes of which fewer messages were due than could be claimed."""
    used = Counter(claim.lane for claim in claims)
    return frozenset(share.lane for share in shares if used[share.lane] < share.slots)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
