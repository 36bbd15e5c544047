"""The dispatcher: claims due triggers, delivers them side by side, records what came of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping

import structlog

from ..domain.delivery import Claim
from ..errors import StoreUnavailable
from .delivery import Deliverer
from .providers.base import Provider
from .queue import Campaigns, Queue
from .recorder import Outage, Recorder
from .scrub import place_of
from .settings import DispatchSettings

__all__ = ["DispatchSettings", "Dispatcher"]

LAST_COMMIT = 1.0
"""Seconds that the last recording is given, even if sends took all of the grace."""
LINGER = 0.005
"""Seconds that a free slot may wait for others, so that one claim serves several."""


class Dispatcher:
    """Delivers until it is stopped. Each provider has its own slots, so none waits for another.

    Raises:
        ConfigError: A provider's timeout is not shorter than the lease.
    """

    def __init__(
        self,
        queue: Queue,
        campaigns: Campaigns,
        providers: Mapping[str, Provider],
        settings: DispatchSettings,
    ) -> None:
        settings.check(providers.values())
        self._queue = queue
        self._settings = settings
        self._deliverer = Deliverer(campaigns, providers)
        self._log = structlog.get_logger("clarion.dispatch").bind()
        self._wake = asyncio.Event()
        self._outage = Outage("queue")
        self._blindness = Outage("campaigns")
        self._recorder = Recorder(queue, self._outage, self._wake.set)
        self._slots = {name: provider.concurrency for name, provider in providers.items()}
        self._free = dict(self._slots)
        self._wanting: set[str] = set()
        """Providers that may have more work due than they had free slots."""
        self._sends: dict[asyncio.Task[None], Claim] = {}
        self._listener: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = False

    def stop(self) -> None:
        """Claim no more; let `run` end what is under way and return. May be called at any time."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Deliver until `stop` is called, or until cancelled (which waits for nothing)."""
        recording = asyncio.create_task(self._recorder.run())
        try:
            await self._claim_until_stopped()
            await self._finish_up()
        finally:
            await _end([recording, *self._sends, *([self._listener] if self._listener else [])])

    async def _claim_until_stopped(self) -> None:
        while not self._stopping:
            self._wake.clear()
            free = self._askable()
            if free:
                self._listen()  # before the claim, so that no announcement falls between the two
                claims = await self._claim(free)
                self._wanting = self._filled(free, claims)
                for claim in claims:
                    self._start(claim)
                if self._more_at_once():
                    continue
            await self._wait()

    def _filled(self, free: Mapping[str, int], claims: list[Claim]) -> set[str]:
        """Return the providers for which all came that was asked for, or nothing could be asked."""
        came = Counter(claim.provider for claim in claims)
        return {name for name in self._free if came[name] >= free.get(name, 0)}

    def _more_at_once(self) -> bool:
        """Tell whether a slot came free during the claim for which there may be work."""
        return not self._pause and any(self._free[name] > 0 for name in self._wanting)

    def _askable(self) -> dict[str, int]:
        """Return the free slots by provider; none while outcomes pile up unrecorded."""
        if self._recorder.behind or self._recorder.unrecorded >= self._settings.unrecorded_limit:
            return {}
        return {name: slots for name, slots in self._free.items() if slots > 0}

    async def _wait(self) -> None:
        """Wait until there may be something to claim: told, or in time for retries."""
        if self._pause and not self._stopping:
            await self._nap(self._pause)
        else:
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

    async def _claim(self, free: Mapping[str, int]) -> list[Claim]:
        try:
            claims = await self._queue.claim(free, self._settings.lease)
        except Exception as error:
            self._outage.failed(error)
            return []
        self._outage.over()
        return claims

    def _start(self, claim: Claim) -> None:
        """Give a claim a slot and send it there."""
        self._free[claim.provider] = self._free.get(claim.provider, 0) - 1
        task = asyncio.create_task(self._attempt(claim))
        self._sends[task] = claim
        task.add_done_callback(self._ended)

    async def _attempt(self, claim: Claim) -> None:
        if self._stopping:
            self._recorder.returned(claim)
            return
        try:
            finished = await self._deliverer.attempt(claim)
        except StoreUnavailable as error:
            self._blindness.failed(error)
            self._recorder.returned(claim)
        else:
            self._blindness.over()
            self._recorder.finished(finished)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Free the slot of a send, and hand the claim back if the send was cut off."""
        claim = self._sends.pop(task)
        self._free[claim.provider] += 1
        if task.cancelled():
            self._recorder.returned(claim)
        elif error := task.exception():
            self._log.error("dispatch_fault", trigger_id=str(claim.trigger.id), exception=place_of(error))
        if claim.provider in self._wanting:
            self._claim_soon(claim.provider)

    def _claim_soon(self, provider: str) -> None:
        """Wake the loop once a quarter of the slots is free, or shortly: not for each single slot."""
        if self._free[provider] * 4 >= self._slots.get(provider, 0):
            self._wake.set()
        elif self._timer is None or self._timer.when() <= asyncio.get_running_loop().time():
            self._timer = asyncio.get_running_loop().call_later(LINGER, self._wake.set)

    async def _finish_up(self) -> None:
        """Wait for sends and their recording; cut off and hand back what takes too long."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._settings.grace
        if self._sends:
            await asyncio.wait(self._sends, timeout=self._settings.grace)
        await _end(list(self._sends))
        try:
            async with asyncio.timeout_at(max(deadline, clock() + LAST_COMMIT)):
                await self._recorder.drained()
        except TimeoutError:
            self._log.error("outcomes_unrecorded", count=self._recorder.unrecorded)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
