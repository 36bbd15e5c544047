"""A router of two providers, by a clock that the test turns."""

from __future__ import annotations

from server.dispatcher.circuit_breaker import BreakerState
from server.dispatcher.ports import SendResult
from server.dispatcher.providers.base import SendingPolicy
from server.dispatcher.router import Plan, ProviderRouter
from server.domain.delivery_errors import Verdict
from tests.kit.clock import FakeClock
from tests.kit.dispatch import ScriptedProvider

CLOSED, OPEN, HALF_OPEN = BreakerState
DOWN = SendResult(Verdict.PROVIDER_DOWN, "no connection")
YES = SendResult(Verdict.SENT, message_id="1")
BOTH = "email/first,second"


def make_traffic(clock: FakeClock, *, slots: int = 4, rate: float = 0.0, failures: int = 2) -> ProviderRouter:
    """Make traffic over two providers: `first`, with the given policy, and `second`, with none."""
    policy = SendingPolicy(rate=rate, breaker_failures=failures, breaker_pause=10.0)
    first = ScriptedProvider("first", concurrency=slots, policy=policy)
    return ProviderRouter({"first": first, "second": ScriptedProvider("second", concurrency=slots)}, clock)


def planned(plan: Plan) -> dict[str, tuple[str, int]]:
    return {share.lane: (share.provider, share.slots) for share in plan.shares}


def sent(traffic: ProviderRouter, provider: str, *results: SendResult | None) -> None:
    for result in results:
        traffic.began(provider)
        traffic.ended(provider, result)
