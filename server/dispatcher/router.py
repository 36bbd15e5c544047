"""Which lane may send how much, through which provider, now."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import structlog

from ..domain.campaign import providers_of
from ..domain.delivery import ClaimRequest
from ..errors import Verdict
from .circuit_breaker import Breaker, BreakerState
from .ports import SendResult
from .provider_rate import Pace
from .providers.base import Destination

__all__ = ["Plan", "ProviderRouter"]


_NO_GATE = asyncio.Semaphore(1000)
"""For a provider that is not configured here: its attempts end at once."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to claim now.

    `starved` are the providers that lanes wait for because they have no room; `left_out` are the lanes that
    got no slot, although their provider has room: those of the others may prove to be empty.
    """

    shares: list[ClaimRequest]
    starved: frozenset[str]
    left_out: frozenset[str]


@dataclass(slots=True)
class _ProviderState:
    """One provider with what bounds its use."""

    slots: int
    breaker: Breaker
    pace: Pace
    gate: asyncio.Semaphore
    timeout: float
    free: int = field(init=False)

    def __post_init__(self) -> None:
        self.free = self.slots

    def room(self, now: float) -> int:
        return self.pace.room(now, self.breaker.room(now, max(0, self.free)))


class ProviderRouter:
    """The providers' slots, breakers and paces.

    A lane's providers stand in the order of preference. It goes through the first whose breaker is not open,
    so that traffic moves to the next one when a provider fails, and back when it works again.
    """

    def __init__(
        self,
        providers: Mapping[str, Destination],
        clock: Callable[[], float] = time.monotonic,
        *,
        ahead: int = 0,
    ) -> None:
        """Take the configured providers and a clock in seconds. Others may come to `providers` later.

        `ahead` is how many messages are claimed for each slot beyond the one that it sends, so that no
        connection waits for a claim.
        """
        self._clock = clock
        self._log = structlog.get_logger("clarion.dispatch").bind()
        self._providers = providers
        self._ahead = ahead
        self._roads: dict[str, _ProviderState] = {}
        for name in providers:
            self._road(name)
        self._turns = itertools.count(1)
        self._served: dict[str, int] = {}
        """Lanes by when they last had their turn."""

    def share_among(self, dispatchers: int) -> None:
        """Take one of so many equal shares of each provider's rate from now on."""
        for road in self._roads.values():
            road.pace.share_among(dispatchers)

    def plan(self, lanes: Collection[str]) -> Plan:
        """Return what to claim of each lane. Lanes of one provider share its room evenly, by turns."""
        now = self._clock()
        through: dict[str, list[str]] = {}
        for lane in sorted(lanes):
            name = self._provider_of(lane, now)
            if name is not None:
                through.setdefault(name, []).append(lane)
        rooms = {name: self._roads[name].room(now) for name in through}
        shares = [
            ClaimRequest(lane, name, slots)
            for name, its_lanes in through.items()
            for lane, slots in self._shared(rooms[name], its_lanes)
        ]
        starved = frozenset(name for name, room in rooms.items() if not room)
        roomy = (through[name] for name in through.keys() - starved)
        return Plan(shares, starved, frozenset().union(*roomy) - {share.lane for share in shares})

    def _shared(self, room: int, lanes: list[str]) -> list[tuple[str, int]]:
        """Divide the room; what does not come out even goes to those who waited longest for it."""
        each, rest = divmod(room, len(lanes))
        in_turn = sorted(lanes, key=lambda lane: self._served.get(lane, 0))
        shares = [(lane, each) for lane in in_turn[rest:] if each]
        shares += [(lane, each + 1) for lane in in_turn[:rest]]
        for lane, _ in shares:
            self._served[lane] = next(self._turns)
        return shares

    def serves(self, lane: str) -> bool:
        """Tell whether any provider of the lane is configured here."""
        return bool(self._providers_of(lane))

    def room(self, provider: str) -> int:
        """Return how many messages the provider may be given now."""
        road = self._road(provider)
        return road.room(self._clock()) if road else 0

    def is_roomy(self, provider: str) -> bool:
        """Tell whether a quarter of the provider's slots is free."""
        road = self._road(provider)
        return road is not None and road.free * 4 >= road.slots

    def began(self, provider: str) -> None:
        """Note that a message goes to the provider."""
        if road := self._road(provider):
            road.free -= 1
            road.pace.took()
            road.breaker.started(self._clock())

    def ended(self, provider: str, result: SendResult | None) -> None:
        """Note what came of it; None: nothing was sent."""
        road = self._road(provider)
        if road is None:
            return
        road.free += 1
        if result is None or not result.reached_provider:
            road.pace.took(-1)
            road.breaker.abandoned()
        elif result.verdict is Verdict.PROVIDER_DOWN:
            self._failed(provider, road, result)
        elif road.breaker.succeeded():
            self._log.info("breaker_closed", provider=provider)

    def _failed(self, provider: str, road: _ProviderState, result: SendResult) -> None:
        now = self._clock()
        if road.breaker.failed(now, result.retry_after or 0.0):
            pause = round((road.breaker.reopens_at or now) - now, 1)
            self._log.warning("breaker_opened", provider=provider, pause_s=pause)

    def wait(self) -> float:
        """Return the seconds until a provider that is held up now may have room; infinite if none is."""
        now = self._clock()
        return min((_wait(road, now) for road in self._roads.values()), default=math.inf)

    @property
    def timeouts(self) -> Mapping[str, float]:
        """The seconds that one send may take through each provider."""
        return {name: road.timeout for name, road in self._roads.items()}

    def gate(self, provider: str) -> asyncio.Semaphore:
        """Return what has a place for each message that may be under way at once."""
        road = self._road(provider)
        return road.gate if road else _NO_GATE

    def may_begin(self, provider: str, within: float) -> bool:
        """Tell whether a message that had to wait may still be sent, if that must end in so many seconds."""
        road = self._road(provider)
        return road is not None and not self.is_open(provider) and road.timeout < within

    def is_open(self, provider: str) -> bool:
        """Tell whether the provider's breaker keeps messages away, or lets one alone try."""
        road = self._road(provider)
        return road is not None and road.breaker.state(self._clock()) is not BreakerState.CLOSED

    def states(self) -> dict[str, BreakerState]:
        """Return the state of each provider's breaker."""
        now = self._clock()
        return {name: road.breaker.state(now) for name, road in self._roads.items()}

    def _provider_of(self, lane: str, now: float) -> str | None:
        """Return the provider that the lane's messages go through now."""
        open_now = BreakerState.OPEN
        for name in self._providers_of(lane):
            road = self._roads[name]
            state = road.breaker.state(now)
            probed = state is BreakerState.HALF_OPEN and not road.room(now)
            if state is not open_now and not probed:
                return name
        return None

    def _providers_of(self, lane: str) -> list[str]:
        """Return the lane's providers that are configured here, in its order."""
        return [name for name in providers_of(lane) if self._road(name)]

    def _road(self, name: str) -> _ProviderState | None:
        """Return what bounds the use of a provider; one that is new gets it now."""
        road = self._roads.get(name)
        if road is None and name in self._providers:
            road = self._roads[name] = _new_road(self._providers[name], self._ahead)
        return road


def _new_road(provider: Destination, ahead: int) -> _ProviderState:
    policy = provider.policy
    return _ProviderState(
        provider.concurrency * (1 + ahead),
        Breaker(policy.breaker_failures, policy.breaker_pause),
        Pace(policy.rate),
        asyncio.Semaphore(provider.concurrency),
        provider.timeout,
    )


def _wait(road: _ProviderState, now: float) -> float:
    if road.breaker.state(now) is BreakerState.OPEN:
        return (road.breaker.reopens_at or now) - now
    if road.free > 0:
        return road.pace.wait(now) or math.inf
    return math.inf
