"""The dispatcher with send windows, time zones and times to live."""

from __future__ import annotations

import datetime as dt

import pytest

from server.dispatcher.attempt import EXPIRED
from server.domain.campaign import Campaign, SendWindow
from server.domain.delivery_errors import ProviderError, Verdict
from tests.kit.dispatch import (
    MemoryCampaigns,
    MemoryQueue,
    ScriptedProvider,
    make_campaign,
    make_trigger,
    outcomes,
    running,
    sent_ids,
)
from tests.kit.outcomes import DEAD, DELIVERED

pytestmark = pytest.mark.usefixtures("quiet_logs")


async def test_a_closed_window_delays_without_an_attempt() -> None:
    queue, provider = MemoryQueue(), ScriptedProvider()
    now = queue.clock.utc()
    opens, closes = (now + dt.timedelta(minutes=minutes) for minutes in (120, 180))
    window = SendWindow(f"{opens:%H:%M}", f"{closes:%H:%M}")
    campaigns = MemoryCampaigns(make_campaign(window=window))
    async with running(queue, provider, campaigns=campaigns):
        elsewhere = make_trigger(timezone="UTC")
        there = make_trigger(timezone="Etc/GMT-2")  # where it is two hours later: open
        queue.add(elsewhere, there)
        await queue.until_attempts(1)
        await queue.until_released()
        await queue.clock.run(60)
    assert sent_ids(provider) == [there.id]
    assert [claim.trigger.id for claim in queue.released] == [elsewhere.id]
    row = queue.rows[elsewhere.id]
    assert row.attempt == 0
    assert row.due - queue.clock.now == pytest.approx(7200 - 60, abs=60)


async def test_outdated_window_delays_nothing() -> None:
    """The window was opened just before the trigger was accepted, and this dispatcher does not know yet."""

    class Outdated(MemoryCampaigns):
        async def current_campaign(self, project_id: int, campaign_id: int) -> Campaign | None:
            return make_campaign()

    queue, provider = MemoryQueue(), ScriptedProvider()
    opens, closes = (queue.clock.utc() + dt.timedelta(minutes=minutes) for minutes in (120, 180))
    window = SendWindow(f"{opens:%H:%M}", f"{closes:%H:%M}")
    async with running(queue, provider, campaigns=Outdated(make_campaign(window=window))):
        queue.add(make_trigger(timezone="UTC"))
        await queue.until_attempts(1)
    assert outcomes(queue) == [DELIVERED]
    assert not queue.released


async def test_the_projects_time_zone_is_the_fallback() -> None:
    queue, provider = MemoryQueue(), ScriptedProvider()
    berlin = queue.clock.utc().astimezone(MemoryCampaigns().zone)
    opens, closes = (berlin + dt.timedelta(minutes=minutes) for minutes in (-10, 10))
    window = SendWindow(f"{opens:%H:%M}", f"{closes:%H:%M}")
    async with running(queue, provider, campaigns=MemoryCampaigns(make_campaign(window=window))):
        queue.add(make_trigger())
        await queue.until_attempts(1)
    assert outcomes(queue) == [DELIVERED]


async def test_an_expired_trigger_is_not_sent() -> None:
    queue, provider = MemoryQueue(), ScriptedProvider()
    async with running(queue, provider):
        queue.add(make_trigger(), expires_at=queue.clock.utc())
        queue.add(make_trigger(), expires_at=queue.clock.utc() + dt.timedelta(hours=1))
        await queue.until_attempts(2)
    assert outcomes(queue) == [DEAD, DELIVERED]
    assert [done.attempt.error for done in queue.dead] == [EXPIRED]
    assert len(provider.sent) == 1


async def test_no_retry_is_scheduled_after_the_ttl() -> None:
    queue, provider = (
        MemoryQueue(),
        ScriptedProvider("mail", ProviderError(Verdict.PROVIDER_DOWN, "busy", retry_after=60)),
    )
    async with running(queue, provider):
        queue.add(make_trigger(), expires_at=queue.clock.utc() + dt.timedelta(seconds=50))
        await queue.until_attempts(1)
    assert [done.attempt.error for done in queue.dead] == [
        "busy; its time to live ends before the next attempt"
    ]
