"""The dispatcher with several providers, breakers and rates."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from server.dispatcher import dispatcher as worker
from server.dispatcher.attempt import EXPIRED
from server.dispatcher.providers.base import ProviderRetryPolicy, SendingPolicy
from server.dispatcher.settings import DispatchSettings
from server.domain.campaign import RetryPolicy
from server.domain.delivery_errors import ProviderError, Verdict
from server.errors import StoreUnavailable
from tests.kit.dispatch import (
    ADDRESS,
    SLOW_POLL,
    MemoryCampaigns,
    MemoryQueue,
    ScriptedProvider,
    campaigns_through,
    make_campaign,
    make_trigger,
    outcomes,
    running,
    sent_ids,
)
from tests.kit.outcomes import DEAD, DELIVERED, RETRY, SUPPRESSED

pytestmark = pytest.mark.usefixtures("quiet_logs")

BOTH = MemoryCampaigns(make_campaign(providers=("first", "second")))
OPENS_AT_TWO = SendingPolicy(breaker_failures=2, breaker_pause=10.0)

BUSY = ProviderError(Verdict.PROVIDER_DOWN, "busy")
DOWN = ProviderError(Verdict.PROVIDER_DOWN, "down")


async def send(queue: MemoryQueue, count: int, providers: str = "first,second") -> None:
    """Queue triggers and return once all are delivered."""
    before = outcomes(queue).count(DELIVERED)
    queue.add(*[make_trigger() for _ in range(count)], provider=providers)
    await queue.clock.run_until(lambda: outcomes(queue).count(DELIVERED) == before + count)


async def test_traffic_moves_to_the_second_provider_and_back() -> None:
    queue = MemoryQueue()
    first = ScriptedProvider("first", concurrency=2, timeout=0.02, policy=OPENS_AT_TWO)
    second = ScriptedProvider("second", concurrency=2)
    first.open.clear()
    async with running(queue, first, second, campaigns=BOTH):
        await send(queue, 20)
        assert (len(first.sent), len(second.sent)) == (0, 20)
        await send(queue, 20)
        assert len(second.sent) == 40
        assert outcomes(queue).count(RETRY) == 2

        first.open.set()
        queue.clock.advance(10)
        await send(queue, 20)
        assert first.sent
        to_second = len(second.sent)
        await send(queue, 20)
        assert len(second.sent) == to_second
    assert len({*sent_ids(first), *sent_ids(second)}) == len(first.sent) + len(second.sent) == 80


async def test_a_single_message_probes_a_failing_provider() -> None:
    queue = MemoryQueue()
    first = ScriptedProvider("first", *[DOWN] * 9, policy=OPENS_AT_TWO, concurrency=2)
    async with running(queue, first, ScriptedProvider("second"), campaigns=BOTH):
        await send(queue, 20)
        queue.clock.advance(10)
        await send(queue, 20)
    assert [done.claim.provider for done in queue.attempts].count("first") == 3


async def test_an_only_provider_is_paused_and_then_probed() -> None:
    queue = MemoryQueue()
    alone = ScriptedProvider("mail", DOWN, DOWN, policy=OPENS_AT_TWO)
    async with running(queue, alone):
        queue.add(make_trigger(), make_trigger())
        await queue.until_attempts(2)
        await queue.clock.run(0.15)
        assert outcomes(queue) == [RETRY, RETRY]
        queue.clock.advance(10)
        await queue.until_attempts(4)
    assert outcomes(queue)[2:] == [DELIVERED, DELIVERED]


async def test_a_failing_provider_does_not_delay_another() -> None:
    queue = MemoryQueue()
    down = ScriptedProvider("down", *[DOWN] * 9, policy=OPENS_AT_TWO)
    async with running(queue, down, ScriptedProvider(), campaigns=campaigns_through("mail", "down")):
        queue.add(*[make_trigger(campaign_id=45) for _ in range(20)], provider="down")
        await send(queue, 100, "mail")
    assert not down.sent
    assert len(down.script) >= 5


@pytest.mark.parametrize(
    "campaign_id", [99, 44], ids=["the campaign is deleted", "the message cannot be rendered"]
)
async def test_a_message_not_sent_says_nothing_about_the_provider(campaign_id: int) -> None:
    queue = MemoryQueue()
    provider = ScriptedProvider("mail", DOWN, DOWN, DOWN, concurrency=1, policy=OPENS_AT_TWO)
    broken = MemoryCampaigns(make_campaign(sender="" if campaign_id == 44 else "shop@example.com"))
    broken.all[1, 45] = make_campaign(id=45, retry=RetryPolicy(first_delay=3600))
    async with running(queue, provider, campaigns=broken):
        queue.add(*[make_trigger(campaign_id=number) for number in (45, campaign_id, 45, 45)])
        await queue.until_attempts(3)
        await queue.clock.run(0.1)
        assert len(queue.attempts) == 3  # open since the second failure
        queue.clock.advance(10)
        queue.rows.clear()
        queue.add(*[make_trigger(campaign_id=campaign_id) for _ in range(3)])
        await queue.until_attempts(6)
        queue.add(make_trigger(campaign_id=45))  # tries, and fails
        await queue.until_attempts(7)
        queue.add(make_trigger(campaign_id=45))
        await queue.clock.run(0.1)
    assert outcomes(queue) == [RETRY, DEAD, RETRY, DEAD, DEAD, DEAD, RETRY]


async def test_a_providers_rate_is_used_although_lanes_are_empty() -> None:
    queue = MemoryQueue()
    slow = ScriptedProvider(concurrency=64, policy=SendingPolicy(rate=40))
    lanes = [make_campaign(id=number, providers=("mail", f"x{number}")) for number in range(5)]
    campaigns = MemoryCampaigns(make_campaign(), *lanes)
    began = queue.clock.now
    async with running(queue, slow, campaigns=campaigns, settings=SLOW_POLL):
        await send(queue, 21, "mail")
    assert 0.35 < queue.clock.now - began < 3  # at most 4 at once, and 17 at 25 ms each


async def test_a_suppressed_recipient_uses_no_rate() -> None:
    queue = MemoryQueue()
    provider = ScriptedProvider(concurrency=1, policy=SendingPolicy(rate=0.1))
    async with running(queue, provider):
        queue.add(*[make_trigger() for _ in range(5)], suppressed="550 unknown")
        queue.add(make_trigger())
        await queue.until_attempts(6)
    assert outcomes(queue) == [SUPPRESSED] * 5 + [DELIVERED]
    assert len(provider.sent) == 1
    assert queue.attempts[0].attempt.error.endswith(": 550 unknown")
    assert not queue.dead


@pytest.mark.parametrize(
    ("of_campaign", "of_provider", "attempts"),
    [
        (RetryPolicy(max_attempts=2, max_delay=0), ProviderRetryPolicy(max_attempts=4, max_delay=0), 2),
        (None, ProviderRetryPolicy(max_attempts=4, max_delay=0), 4),
        (RetryPolicy(max_attempts=2, max_delay=0), None, 2),
    ],
)
async def test_a_campaigns_policy_overrides_its_providers(
    of_campaign: RetryPolicy | None, of_provider: ProviderRetryPolicy | None, attempts: int
) -> None:
    queue = MemoryQueue()
    policy = SendingPolicy(breaker_failures=0, retry=of_provider)
    provider = ScriptedProvider("mail", *[BUSY] * 9, policy=policy)
    async with running(queue, provider, campaigns=MemoryCampaigns(make_campaign(retry=of_campaign))):
        queue.add(make_trigger())
        await queue.until_attempts(attempts)
    assert outcomes(queue) == [RETRY] * (attempts - 1) + [DEAD]


async def test_triggers_of_one_user_are_not_merged() -> None:
    queue, provider = MemoryQueue(), ScriptedProvider(concurrency=16)
    triggers = [make_trigger(event=f'{{"id": {number}}}') for number in range(40)]
    async with running(queue, provider):
        queue.add(*triggers)
        await queue.until_attempts(40)
    assert sorted(sent_ids(provider)) == sorted(trigger.id for trigger in triggers)
    assert {message.text for message in provider.sent} == {f"Order {number}" for number in range(40)}  # type: ignore[attr-defined]


async def test_opening_and_closing_a_breaker_is_logged() -> None:
    queue = MemoryQueue()
    provider = ScriptedProvider("mail", DOWN, DOWN, policy=OPENS_AT_TWO)
    with capture_logs() as logs:
        async with running(queue, provider):
            queue.add(make_trigger(), make_trigger())
            await queue.until_attempts(2)
            queue.clock.advance(10)
            await queue.until_attempts(4)
    events = [one["event"] for one in logs if one["event"].startswith("breaker")]
    assert events == ["breaker_opened", "breaker_closed"]


async def test_rejected_messages_do_not_open_the_breaker() -> None:
    queue = MemoryQueue()
    provider = ScriptedProvider("mail", *[ProviderError(Verdict.NEVER, "no")] * 20, policy=OPENS_AT_TWO)
    async with running(queue, provider):
        queue.add(*[make_trigger() for _ in range(20)])
        await queue.until_attempts(20)
        await send(queue, 5, "mail")
    assert outcomes(queue) == [DEAD] * 20 + [DELIVERED] * 5


async def test_a_lane_without_a_provider_is_logged_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "HOUSEKEEPING", 0.01)
    queue = MemoryQueue()
    queue.add(make_trigger(campaign_id=44), provider="gone")
    queue.add(make_trigger(campaign_id=45), provider="gone,mail")
    queue.add(make_trigger(campaign_id=45), provider="before")  # moves when it is due
    campaigns = campaigns_through("gone", "gone,mail")
    with capture_logs() as logs:
        async with running(queue, ScriptedProvider(), settings=SLOW_POLL, campaigns=campaigns):
            await queue.until_attempts(1)
            await queue.clock.run(0.1)
    assert [one["lane"] for one in logs if one["event"] == "lane_without_provider"] == ["email/gone"]


class SeldomSeen(MemoryQueue):
    """Finds fault with its first looks around, and counts what is to be buried."""

    looks = 0
    burials = 0

    async def lanes(self) -> set[str]:
        self.looks += 1
        if self.looks < 3:
            raise StoreUnavailable if self.looks == 1 else ValueError(ADDRESS)
        return await super().lanes()

    async def bury_expired(self, error: str, after_doubt: str) -> int:
        assert error == EXPIRED
        self.burials += 1
        return 0


async def test_housekeeping_finds_lanes_without_a_campaign(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "HOUSEKEEPING", 0.01)
    queue, second = SeldomSeen(), ScriptedProvider("second")
    with capture_logs() as logs:
        async with running(queue, ScriptedProvider(), second, settings=SLOW_POLL):
            queue.add(make_trigger(campaign_id=99), provider="second")
            await queue.until_attempts(1)
    assert outcomes(queue) == [DEAD]
    assert queue.burials >= 1
    assert [one["event"] for one in logs].count("housekeeping_failed") == 1
    assert ADDRESS not in str(logs)


async def test_claims_ahead_are_released_when_the_breaker_opens() -> None:
    queue = MemoryQueue()
    mail = ScriptedProvider("mail", concurrency=2, timeout=0.05, policy=OPENS_AT_TWO)
    mail.open.clear()
    queue.add(*[make_trigger() for _ in range(4)])
    async with running(queue, mail, ahead=1):
        await queue.until_attempts(2)
        await queue.until_released(2)
    assert mail.most == 2
    assert outcomes(queue) == [RETRY] * 2
    assert sorted(row.attempt for row in queue.rows.values()) == [0, 0, 1, 1]


async def test_a_claim_whose_lease_ended_is_not_sent() -> None:
    queue = MemoryQueue()
    queue.renewals_fail = True
    mail = ScriptedProvider("mail", concurrency=1)
    mail.open.clear()
    queue.add(make_trigger(), make_trigger())
    short = DispatchSettings(poll_interval=60.0, lease=0.4, shutdown_grace=5.0)
    async with running(queue, mail, settings=short, ahead=1):
        await queue.clock.run(0.5)
        mail.open.set()
        await queue.until_attempts(1)
        await queue.until_released()
    assert mail.most == 1


async def test_a_failover_uses_up_no_attempts() -> None:
    queue = MemoryQueue()
    policy = RetryPolicy(max_attempts=1, first_delay=0.001, max_delay=0.002)
    once = MemoryCampaigns(make_campaign(providers=("first", "second"), retry=policy))
    first = ScriptedProvider("first", *[DOWN] * 9, policy=OPENS_AT_TWO)
    second = ScriptedProvider("second")
    async with running(queue, first, second, campaigns=once):
        await send(queue, 5)
    assert len(second.sent) == 5
    assert DEAD not in outcomes(queue)
