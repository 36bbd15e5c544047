"""The dispatcher: claims what is due, has it sent side by side, records what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import math
import uuid
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Generic

import structlog

from ..domain.delivery import ClaimRequest, ClaimT, Finished, Leased, Released
from ..errors import StoreUnavailable
from .ports import Lanes, Queue, Sender
from .recorder import Recorder, StoreHealth
from .redact import safe_traceback
from .retry import EXPIRED
from .router import ProviderRouter
from .settings import DispatchSettings

__all__ = ["Dispatcher"]

UNRECORDED_LIMIT = 10_000
"""Outcomes that may wait to be recorded; above it nothing is claimed."""
LAST_COMMIT = 1.0
"""Seconds that the last recording is given, even if sends took all of the grace."""
LOOK_AROUND = 5.0
"""Seconds between looks for what is seldom."""
LINGER = 0.005
"""Seconds that a free slot may wait for others, so that one claim serves several."""


class Dispatcher(Generic[ClaimT]):
    """Delivers until it is stopped. Each provider has its own slots, so none waits for another.

    Raises:
        ConfigError: A provider's timeout is not shorter than the lease.
    """

    def __init__(
        self,
        queue: Queue[ClaimT],
        source: Lanes,
        sender: Sender[ClaimT],
        traffic: ProviderRouter,
        settings: DispatchSettings,
        *,
        unrecorded_limit: int = UNRECORDED_LIMIT,
    ) -> None:
        settings.check_timeouts(traffic.timeouts)
        self._queue = queue
        self._source = source
        self._settings = settings
        self._unrecorded_limit = unrecorded_limit
        self._sender = sender
        self._log = structlog.get_logger("clarion.dispatch").bind()
        self._wake = asyncio.Event()
        self._outage = StoreHealth("queue")
        self._blindness = StoreHealth("campaigns")
        self._recorder = Recorder(queue, self._outage, self._wake.set)
        self._traffic = traffic
        self._lanes_of_queue: set[str] = set()
        self._wanting: frozenset[str] = frozenset()
        """Providers that may have more work due than they had room."""
        self._sends: dict[asyncio.Task[None], ClaimT] = {}
        self._held: set[uuid.UUID] = set()
        """The ids of these."""
        self._listener: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False

    def stop(self) -> None:
        """Claim no more; let `run` end what is under way and return. May be called at any time."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Deliver until `stop` is called, or until cancelled (which waits for nothing)."""
        helping = [asyncio.create_task(self._recorder.run()), asyncio.create_task(self._look_around())]
        try:
            await self._claim_until_stopped()
            await self._finish_up()
        finally:
            await _end([*helping, *self._sends, *([self._listener] if self._listener else [])])

    async def _claim_until_stopped(self) -> None:
        while not self._stopping:
            self._wake.clear()
            if not self._is_behind():
                self._listen()  # before the claim, so that no announcement falls between the two
                await self._claim_round()
                if self._more_at_once():
                    continue
            await self._wait()

    async def _claim_round(self) -> None:
        """Claim of all lanes; those that got no slot at first come after, if one is left."""
        lanes: Collection[str] = self._lanes_of_queue | set(self._source.lanes())
        wanting: frozenset[str] = frozenset()
        while lanes and not self._stopping:
            plan = self._traffic.plan(lanes)
            claims = await self._claim(plan.shares)
            wanting |= plan.starved | _filled(plan.shares, claims)
            for claim in claims:
                self._start(claim)
            lanes = () if self._pause else plan.left_out
        self._wanting = wanting

    async def _look_around(self) -> None:
        """See now and then to what nothing announces: lanes that no campaign has any more, and expiry."""
        while True:
            try:
                lanes = await self._queue.lanes()
                while buried := await self._queue.bury_expired(EXPIRED):
                    self._sender.expired(buried)
            except StoreUnavailable:  # the claims tell
                lanes = self._lanes_of_queue
            except Exception as error:  # the next look may do better
                self._log.error("look_around_failed", exception=safe_traceback(error))
                lanes = self._lanes_of_queue
            if new := lanes - self._lanes_of_queue:
                self._wake.set()
                self._warn_of_unserved(new)
            self._lanes_of_queue = lanes
            await asyncio.sleep(LOOK_AROUND)

    def _warn_of_unserved(self, lanes: Collection[str]) -> None:
        """Tell of lanes that wait for a provider that is not configured here: for good, perhaps."""
        for lane in sorted(lanes):
            if not self._traffic.serves(lane):
                self._log.warning("lane_without_provider", lane=lane)

    def _more_at_once(self) -> bool:
        """Tell whether a slot came free during the claim for which there may be work."""
        return not self._pause and any(self._traffic.room(name) for name in self._wanting)

    def _is_behind(self) -> bool:
        """Tell whether outcomes pile up unrecorded: then nothing is claimed."""
        return self._recorder.behind or self._recorder.unrecorded >= self._unrecorded_limit

    async def _wait(self) -> None:
        """Wait until there may be something to claim: told, or in time for a retry or a provider's return."""
        if self._pause and not self._stopping:
            await self._nap(self._pause)
            return
        held_up = self._traffic.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(held_up if held_up < math.inf else None):
                await self._wake.wait()

    @property
    def _pause(self) -> float:
        """Seconds to keep still because the store is away; 0 while it is there."""
        return max(self._outage.pause, self._blindness.pause)

    async def _nap(self, seconds: float) -> None:
        """Sleep, unless stopped meanwhile."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._stopping:
                    await self._wake.wait()
                    if not self._stopping:
                        self._wake.clear()

    def _listen(self) -> None:
        """See to it that an announcement, or the end of the poll interval, wakes the loop."""
        if self._listener is None or self._listener.done():
            self._listener = asyncio.create_task(self._hear())

    async def _hear(self) -> None:
        try:
            await self._queue.wait(self._settings.poll_interval)
        except Exception:  # the claim that follows tells whether the store is away
            await asyncio.sleep(self._settings.poll_interval)
        self._wake.set()

    async def _claim(self, shares: Sequence[ClaimRequest]) -> list[ClaimT]:
        if not shares:
            return []
        try:
            claims = await self._queue.claim(shares, self._settings.lease)
        except Exception as error:
            self._outage.failed(error)
            return []
        self._outage.over()
        return claims

    def _start(self, claim: ClaimT) -> None:
        """Give a claim a slot and send it there."""
        # Our own lease ended: the database's clock jumped ahead, or the outcome is not recorded yet.
        if claim.id in self._held or self._recorder.has(claim.id):
            self._recorder.returned(Released(claim, self._settings.lease))
            return
        self._held.add(claim.id)
        self._traffic.began(claim.provider)
        task = asyncio.create_task(self._attempt(claim, asyncio.get_running_loop().time()))
        self._sends[task] = claim
        task.add_done_callback(self._ended)

    async def _attempt(self, claim: ClaimT, claimed_at: float) -> None:
        result = None
        gate = self._traffic.gate(claim.provider)
        waits = gate.locked()
        try:
            async with gate:
                if self._stopping or (waits and not self._may_begin(claim.provider, claimed_at)):
                    self._recorder.returned(Released(claim))
                    return
                attempted = await self._sender.attempt(claim)
        except StoreUnavailable as error:
            self._blindness.failed(error)
            self._recorder.returned(Released(claim))
        else:
            self._blindness.over()
            result = attempted.result
            if isinstance(attempted.outcome, Finished):
                self._recorder.finished(attempted.outcome)
            else:
                self._recorder.returned(attempted.outcome)
        finally:
            self._traffic.ended(claim.provider, result)

    def _may_begin(self, provider: str, claimed_at: float) -> bool:
        """Tell whether a claim that had to wait may still be sent: within its lease, by this provider."""
        waited = asyncio.get_running_loop().time() - claimed_at
        return self._traffic.may_begin(provider, self._settings.lease - waited)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Claim more for the free slot; record a send that was cut off, or hand back one that never began."""
        claim = self._sends.pop(task)
        self._held.discard(claim.id)
        if task.cancelled():
            cut_off = self._sender.cut_off(claim)
            if cut_off:
                self._recorder.finished(cut_off)
            else:
                self._recorder.returned(Released(claim))
        elif error := task.exception():
            self._log.error("dispatch_fault", id=str(claim.id), exception=safe_traceback(error))
        if claim.provider in self._wanting:
            self._claim_soon(claim.provider)

    def _claim_soon(self, provider: str) -> None:
        """Wake the loop once a quarter of the slots is free, or shortly: not for each single slot."""
        if self._traffic.is_roomy(provider):
            self._wake.set()
        elif self._timer is None or self._timer.when() <= asyncio.get_running_loop().time():
            self._timer = asyncio.get_running_loop().call_later(LINGER, self._wake.set)

    async def _finish_up(self) -> None:
        """Wait for sends and their recording; cut off and hand back what takes too long."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._settings.shutdown_grace
        if self._sends:
            await asyncio.wait(self._sends, timeout=self._settings.shutdown_grace)
        await _end(list(self._sends))
        try:
            async with asyncio.timeout_at(max(deadline, clock() + LAST_COMMIT)):
                await self._recorder.drained()
        except TimeoutError:
            self._log.error("outcomes_unrecorded", count=self._recorder.unrecorded)


def _filled(shares: Sequence[ClaimRequest], claims: Sequence[Leased]) -> frozenset[str]:
    """Return the providers for which all came that was asked for of a lane: there may be more."""
    came = Counter(claim.lane for claim in claims)
    return frozenset(share.provider for share in shares if came[share.lane] >= share.slots)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
