"""The dispatcher while the store is slow, stopped, or rejects what it records."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from server.dispatcher import recorder
from server.dispatcher.attempt import cut_off
from server.dispatcher.settings import DispatchSettings
from server.dispatcher.store_health import StoreHealth
from server.domain.delivery import AttemptOutcome, ClaimRequest, Finished, Released
from tests.kit.dispatch import (
    ADDRESS,
    MemoryCampaigns,
    MemoryQueue,
    ScriptedProvider,
    make_campaign,
    make_trigger,
    outcomes,
    running,
    sent_ids,
)

pytestmark = pytest.mark.usefixtures("quiet_logs")


async def test_an_unrecorded_message_is_not_sent_again() -> None:
    queue, provider = MemoryQueue(), ScriptedProvider()
    queue.finish_down = True
    trigger = make_trigger()
    short_lease = DispatchSettings(poll_interval=0.02, lease=5.1, shutdown_grace=5.0)
    async with running(queue, provider, settings=short_lease):
        queue.add(trigger)
        await queue.until_finish_failed()
        queue.rows[trigger.id].due = 0.0  # as if the lease had run out meanwhile
        claims = queue.claims
        await queue.clock.run(3)
        assert queue.claims == claims
        queue.finish_down = False
        await queue.until_attempts(1)
    assert outcomes(queue) == [AttemptOutcome.DELIVERED]
    assert sent_ids(provider) == [trigger.id]


class SlowQueue(MemoryQueue):
    """Records outcomes only after a lock is released; claims continue."""

    def __init__(self) -> None:
        super().__init__()
        self.may = asyncio.Event()

    async def finish(self, finished: Sequence[Finished]) -> None:
        await self.may.wait()
        await super().finish(finished)


async def test_recording_longer_than_the_lease_sends_nothing_twice() -> None:
    queue, provider = SlowQueue(), ScriptedProvider(timeout=0.1)
    trigger = make_trigger()
    async with running(queue, provider, settings=DispatchSettings(poll_interval=0.02, lease=0.2)):
        queue.add(trigger)
        await queue.clock.run(0.7)
        assert queue.claims > 2
        queue.may.set()
        await queue.until_attempts(1)
    assert sent_ids(provider) == [trigger.id]
    assert queue.rows == {}


async def test_nothing_is_claimed_while_outcomes_cannot_be_recorded() -> None:
    queue, provider = MemoryQueue(), ScriptedProvider()
    queue.finish_down = True
    async with running(queue, provider) as dispatcher:
        queue.add(make_trigger())
        await queue.until_finish_failed()
        dispatcher._queue_health.succeeded()  # as a claim does that was under way
        claims = queue.claims
        queue.add(make_trigger())
        await queue.clock.run(3)
        assert queue.claims <= claims + 1
        queue.finish_down = False
        await queue.until_attempts(2)


async def test_many_outcomes_are_recorded_in_several_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "BATCH", 3)
    queue, provider = MemoryQueue(), ScriptedProvider(concurrency=20)
    async with running(queue, provider):
        queue.add(*(make_trigger() for _ in range(20)))
        await queue.until_attempts(20)
    assert outcomes(queue) == [AttemptOutcome.DELIVERED] * 20
    assert queue.finishes >= 7


async def test_a_store_outage_is_logged_once() -> None:
    queue, provider = MemoryQueue(), ScriptedProvider()
    queue.down = True
    with capture_logs() as logs:
        async with running(queue, provider):
            queue.add(make_trigger())
            await queue.clock.run(0.5)
            queue.down = False
            await queue.until_attempts(1)
    assert queue.claims < 20
    events = [entry["event"] for entry in logs]
    assert events.count("store_unavailable") == events.count("store_available") == 1


async def test_claims_are_released_if_the_campaign_is_unavailable() -> None:
    queue, campaigns, provider = MemoryQueue(), MemoryCampaigns(make_campaign()), ScriptedProvider()
    campaigns.down = True
    async with running(queue, provider, campaigns=campaigns):
        queue.add(make_trigger())
        await queue.clock.run(0.3)
        assert queue.released
        campaigns.down = False
        await queue.until_attempts(1)
    assert queue.claims < 30
    assert [done.attempt.number for done in queue.attempts] == [1]


class FussyQueue(MemoryQueue):
    """Finds fault with one trigger, as a database might with a value."""

    def __init__(self, poison: uuid.UUID) -> None:
        super().__init__()
        self.poison = poison

    async def finish(self, finished: Sequence[Finished]) -> None:
        if any(done.claim.trigger.id == self.poison for done in finished):
            raise ValueError(ADDRESS)
        await super().finish(finished)


async def test_a_rejected_outcome_does_not_block_others() -> None:
    poison = make_trigger()
    queue, provider = FussyQueue(poison.id), ScriptedProvider(concurrency=10)
    with capture_logs() as logs:
        async with running(queue, provider):
            queue.add(poison, *[make_trigger() for _ in range(9)])
            await queue.until_attempts(9)
    (entry,) = [entry for entry in logs if entry["event"] == "recording_failed"]
    assert entry["ids"] == [str(poison.id)]
    assert ADDRESS not in str(logs)


async def test_a_rejected_outcome_does_not_block_released_claims() -> None:
    poison, other = make_trigger(), make_trigger()
    queue = FussyQueue(poison.id)
    queue.add(poison, other)
    claims = {
        claim.trigger.id: claim for claim in await queue.claim([ClaimRequest("email/mail", "mail", 2)], 60)
    }
    kept = recorder.Recorder(queue, StoreHealth("queue"), lambda: None)
    running_recorder = asyncio.create_task(kept.run())
    kept.finished(cut_off(claims[poison.id], dt.datetime.now(dt.UTC), 0.1))
    kept.released(Released(claims[other.id]))
    async with asyncio.timeout(60):
        await kept.drained()
    running_recorder.cancel()
    assert [claim.trigger.id for claim in queue.released] == [other.id]
    assert not kept.has(poison.id)
