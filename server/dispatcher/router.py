"""Decides how many messages to claim from each lane, and through which provider to send them."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import structlog
from msgspec import structs

from ..domain.campaign import providers_of
from ..domain.clock import SYSTEM_CLOCK, Clock
from ..domain.delivery import ClaimRequest
from ..domain.waiting import Hold, ProviderStatus
from .circuit_breaker import Breaker, BreakerState
from .pace import Pace
from .ports import SendResult
from .provider_rate import ProviderRate
from .providers.base import Destination

__all__ = ["Plan", "ProviderRouter"]

_UNCONFIGURED_GATE = asyncio.Semaphore(1000)
"""Used for a provider that is not configured here. Its attempts fail at once, so they need no limit."""
_MAX_ERROR = 200
"""Characters of a provider's error that its status repeats."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to claim now."""

    shares: list[ClaimRequest]
    starved: frozenset[str]
    """Providers that lanes would send through but that have no room."""
    left_out: frozenset[str]
    """Lanes that got no slot although their provider has room. They may get slots that others do not use."""


@dataclass(slots=True)
class _ProviderState:
    """A provider's slots, breaker and rate."""

    slots: int
    breaker: Breaker
    rate: ProviderRate
    gate: asyncio.Semaphore
    limit: float
    """The provider's rate, for all dispatchers together."""
    pace: Pace
    error: str = ""
    """Its last failure."""
    free: int = field(init=False)

    def __post_init__(self) -> None:
        self.free = self.slots

    def room(self, now: float) -> int:
        return self.rate.room(now, self.breaker.room(now, max(0, self.free)))

    def wait(self, now: float) -> float:
        """Return the seconds until the breaker or rate allows a message; infinite if it waits for neither."""
        if self.breaker.state(now) is BreakerState.OPEN:
            return (self.breaker.probe_at or now) - now
        if self.free > 0:
            return self.rate.wait(now) or math.inf
        return math.inf

    def status(self, now: float) -> ProviderStatus:
        if self.breaker.state(now) is not BreakerState.CLOSED and not self.breaker.room(now, 1):
            wait = max(0.0, (self.breaker.probe_at or now) - now)
            return ProviderStatus(Hold.BREAKER, wait, self.limit, self.error)
        if not self.rate.room(now, 1):
            return ProviderStatus(Hold.RATE, self.rate.wait(now), self.limit)
        return ProviderStatus(None if self.free > 0 else Hold.SLOTS, 0.0, self.limit)


class ProviderRouter:
    """The slots, breakers and rates of all providers.

    A lane lists its providers in order of preference. It sends through the first whose breaker is not open,
    so that traffic moves to the next provider when one fails, and back when it works again.

    Args:
        providers: The configured providers. More may be added to the mapping later.
        clock: Measures pauses and rates.
        ahead: How many messages to claim in advance for each concurrent send, so that the next one can start
            without waiting for a claim.
    """

    def __init__(
        self, providers: Mapping[str, Destination], clock: Clock = SYSTEM_CLOCK, *, ahead: int = 0
    ) -> None:
        self._now = clock.monotonic
        self._log = structlog.get_logger("clarion.dispatch").bind()
        self._providers = providers
        self._ahead = ahead
        self._states: dict[str, _ProviderState] = {}
        for name in providers:
            self._state(name)
        self._order = itertools.count(1)
        self._last_served: dict[str, int] = {}
        """A number for each lane; the higher, the more recently the lane got slots."""

    def share_among(self, dispatchers: int) -> None:
        """Limit this dispatcher to an equal share of each provider's rate.

        Args:
            dispatchers: The number of dispatchers that share the rates.
        """
        for state in self._states.values():
            state.rate.share_among(dispatchers, self._now())

    def plan(self, lanes: Collection[str]) -> Plan:
        """Return what to claim from each lane. Lanes with the same provider share its room evenly."""
        now = self._now()
        by_provider: dict[str, list[str]] = {}
        for lane in sorted(lanes):
            name = self._choose_provider(lane, now)
            if name is not None:
                by_provider.setdefault(name, []).append(lane)
        rooms = {name: self._states[name].room(now) for name in by_provider}
        shares = [
            ClaimRequest(lane, name, slots)
            for name, its_lanes in by_provider.items()
            for lane, slots in self._divide(rooms[name], its_lanes)
        ]
        starved = frozenset(name for name, room in rooms.items() if not room)
        with_room = (by_provider[name] for name in by_provider.keys() - starved)
        return Plan(shares, starved, frozenset().union(*with_room) - {share.lane for share in shares})

    def _divide(self, room: int, lanes: list[str]) -> list[tuple[str, int]]:
        """Divide the room among lanes evenly; the remainder goes to those that were served least recently."""
        each, remainder = divmod(room, len(lanes))
        waiting = sorted(lanes, key=lambda lane: self._last_served.get(lane, 0))
        shares = [(lane, each) for lane in waiting[remainder:] if each]
        shares += [(lane, each + 1) for lane in waiting[:remainder]]
        for lane, _ in shares:
            self._last_served[lane] = next(self._order)
        return shares

    def serves(self, lane: str) -> bool:
        """Return whether any provider of the lane is configured here."""
        return bool(self._configured(lane))

    def room(self, provider: str) -> int:
        """Return how many messages may be claimed for the provider now."""
        state = self._state(provider)
        return state.room(self._now()) if state else 0

    def is_roomy(self, provider: str) -> bool:
        """Return whether at least a quarter of the provider's slots is free."""
        state = self._state(provider)
        return state is not None and state.free * 4 >= state.slots

    def began(self, provider: str) -> None:
        """Record that a message was claimed for the provider."""
        if state := self._state(provider):
            now = self._now()
            state.free -= 1
            state.rate.take(now)
            state.breaker.started(now)

    def ended(self, provider: str, result: SendResult | None) -> None:
        """Record the result of a send, or None if nothing was sent."""
        state = self._state(provider)
        if state is None:
            return
        state.free += 1
        if result is None or not result.reached_provider:
            state.rate.take(self._now(), -1)
            state.breaker.abandoned()
        elif result.verdict.blames_provider:
            self._failed(provider, state, result)
        elif state.breaker.succeeded():
            self._log.info("breaker_closed", provider=provider)

    def _failed(self, provider: str, state: _ProviderState, result: SendResult) -> None:
        now = self._now()
        state.error = result.error[:_MAX_ERROR]
        if state.breaker.failed(now, result.retry_after or 0.0):
            pause = round((state.breaker.probe_at or now) - now, 1)
            self._log.warning("breaker_opened", provider=provider, pause_s=pause)

    def wait(self) -> float:
        """Return the seconds until a breaker or rate allows another message, or infinity."""
        now = self._now()
        return min((state.wait(now) for state in self._states.values()), default=math.inf)

    def gate(self, provider: str) -> asyncio.Semaphore:
        """Return the semaphore that bounds the provider's concurrent sends."""
        state = self._state(provider)
        return state.gate if state else _UNCONFIGURED_GATE

    def measured(self, provider: str) -> AbstractContextManager[None]:
        """Return a context manager that measures its block as a send through the provider."""
        state = self._state(provider)
        return state.pace.measured() if state else nullcontext()

    def medians(self) -> dict[str, float]:
        """Return the median duration of each provider's sends, in seconds."""
        return {name: state.pace.median for name, state in self._states.items()}

    def may_begin(self, provider: str, *, waited: bool) -> bool:
        """Return whether a claimed message may still be sent: the breaker may have opened since the claim.

        Args:
            provider: The provider's name.
            waited: Whether the message waited for others, so that it is not the one that a half-open breaker
                lets through.
        """
        state = self._state(provider)
        if state is None:
            return not waited
        breaker = state.breaker.state(self._now())
        return breaker is BreakerState.CLOSED or (breaker is BreakerState.HALF_OPEN and not waited)

    def breaker_states(self) -> dict[str, BreakerState]:
        """Return the state of each provider's breaker."""
        now = self._now()
        return {name: state.breaker.state(now) for name, state in self._states.items()}

    def statuses(self) -> dict[str, ProviderStatus]:
        """Return what each provider can send now, as shown to operators."""
        now = self._now()
        return {
            name: structs.replace(state.status(now), seconds=round(state.pace.median, 3))
            for name, state in self._states.items()
        }

    def _choose_provider(self, lane: str, now: float) -> str | None:
        """Return the provider that the lane sends through now, or None if no breaker allows a message."""
        for name in self._configured(lane):
            state = self._states[name]
            breaker = state.breaker.state(now)
            probing = breaker is BreakerState.HALF_OPEN and not state.room(now)
            if breaker is not BreakerState.OPEN and not probing:
                return name
        return None

    def _configured(self, lane: str) -> list[str]:
        """Return the lane's providers that are configured here, in order of preference."""
        return [name for name in providers_of(lane) if self._state(name)]

    def _state(self, name: str) -> _ProviderState | None:
        """Return a provider's state, which is created on first use; None if it is not configured here."""
        state = self._states.get(name)
        if state is None and name in self._providers:
            state = self._states[name] = self._new_state(self._providers[name])
        return state

    def _new_state(self, provider: Destination) -> _ProviderState:
        policy = provider.policy
        return _ProviderState(
            provider.concurrency * (1 + self._ahead),
            Breaker(policy.breaker_failures, policy.breaker_pause),
            ProviderRate(policy.rate, self._now()),
            asyncio.Semaphore(provider.concurrency),
            policy.rate,
            Pace(self._now),
        )
