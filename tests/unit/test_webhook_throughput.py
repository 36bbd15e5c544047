"""Webhook messages are claimed and recorded in batches, so a distant database does not slow an endpoint."""

from __future__ import annotations

from collections.abc import Sequence

from server.dispatcher.settings import DispatchSettings
from server.dispatcher.webhooks.endpoints import AHEAD
from server.domain.delivery import Claim, ClaimRequest, Finished
from tests.kit.dispatch import MemoryQueue, ScriptedProvider, make_trigger, running

ROUND_TRIP = 0.05


class DistantQueue(MemoryQueue):
    """A queue whose database takes `ROUND_TRIP` seconds for each statement."""

    async def claim(self, shares: Sequence[ClaimRequest], lease: float) -> list[Claim]:
        await self.clock.sleep(ROUND_TRIP)
        return await super().claim(shares, lease)

    async def finish(self, finished: Sequence[Finished]) -> None:
        await self.clock.sleep(ROUND_TRIP)
        await super().finish(finished)


async def test_a_distant_database_does_not_slow_an_endpoint() -> None:
    queue, endpoint = DistantQueue(), ScriptedProvider(concurrency=4)
    queue.add(*(make_trigger() for _ in range(300)))
    settings = DispatchSettings(poll_interval=0.5)
    async with running(queue, endpoint, settings=settings, ahead=AHEAD):
        begun = queue.clock.now
        await queue.until_attempts(300)
        seconds = queue.clock.now - begun
    assert endpoint.most <= 4
    assert 300 / seconds > 150
