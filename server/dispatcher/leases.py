"""Renews the leases of messages that are being sent, so that a slow provider does not cause a second send."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Generic

from ..domain.clock import SYSTEM_CLOCK, Clock
from ..domain.delivery import ClaimT
from ..errors import StoreUnavailable
from .ports import Queue
from .store_health import StoreHealth

__all__ = ["Leases"]

_CHECKS = 6
"""Number of checks during the term of a lease. Leases with less than half of their term left are renewed, so
that a renewal can fail twice before a lease ends."""


class Leases(Generic[ClaimT]):
    """The claims that this dispatcher holds, and when their leases end.

    A lease can only be shorter than believed if the database's clock jumps.

    Args:
        queue: Renews the leases.
        lease: Seconds that a claim is leased for, from the claim and from each renewal.
        health: The queue's health, shared with the dispatcher.
        clock: Measures the leases.
    """

    def __init__(
        self, queue: Queue[ClaimT], lease: float, health: StoreHealth, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._queue = queue
        self._lease = lease
        self._health = health
        self._clock = clock
        self._held: dict[uuid.UUID, tuple[ClaimT, float]] = {}

    def __contains__(self, claim_id: uuid.UUID) -> bool:
        """Return whether a claim with this ID has not ended yet, even if its lease has."""
        return claim_id in self._held

    def add(self, claim: ClaimT) -> None:
        """Start renewing the lease of a claim that was just made."""
        self._held[claim.id] = (claim, self._clock.monotonic() + self._lease)

    def remove(self, claim: ClaimT) -> None:
        """Stop renewing the lease of a claim."""
        self._held.pop(claim.id, None)

    def is_valid(self, claim: ClaimT) -> bool:
        """Return whether no other dispatcher can have the claim."""
        _, ends = self._held.get(claim.id, (claim, 0.0))
        return self._clock.monotonic() < ends

    async def run(self) -> None:
        """Renew leases until cancelled."""
        while True:
            await self._clock.sleep(self._lease / _CHECKS)
            now = self._clock.monotonic()
            short = [claim for claim, ends in self._held.values() if ends - now < self._lease / 2]
            if short:
                await self._renew(short)

    async def _renew(self, claims: Iterable[ClaimT]) -> None:
        begun = self._clock.monotonic()
        try:
            renewed = await self._queue.renew(list(claims), self._lease)
        except Exception as error:  # the next check tries again
            if not isinstance(error, StoreUnavailable):
                self._health.failed(error)
            return
        for claim in claims:
            if claim.id in renewed and claim.id in self._held:
                self._held[claim.id] = (claim, begun + self._lease)
