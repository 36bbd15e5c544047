from __future__ import annotations

import uuid
from collections.abc import Mapping, MutableMapping
from typing import Any

import msgspec
import pytest
import structlog
from structlog.testing import capture_logs

from server.channels.email_message import Email
from server.dispatcher.settings import DispatchSettings
from server.domain.campaign import Channel
from server.domain.delivery import AttemptOutcome
from server.domain.delivery_errors import ProviderError, Verdict
from server.domain.trigger import Trigger
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

pytestmark = pytest.mark.usefixtures("quiet_logs")

BUSY = ProviderError(Verdict.PROVIDER_DOWN, "busy")


async def test_a_due_trigger_is_rendered_sent_and_recorded() -> None:
    queue, provider = MemoryQueue(), ScriptedProvider()
    trigger = make_trigger(event='{"id": 7}')
    async with running(queue, provider):
        queue.add(trigger)
        await queue.until_attempts(1)
    (message,) = provider.sent
    assert isinstance(message, Email)
    assert (message.to, message.text) == (ADDRESS, "Order 7")
    (done,) = queue.attempts
    assert done.attempt.outcome is AttemptOutcome.DELIVERED
    assert (done.attempt.number, done.attempt.provider_message_id) == (1, "id-1")
    assert not queue.rows


async def test_message_has_the_trace_context_of_its_trigger() -> None:
    queue, provider = MemoryQueue(), ScriptedProvider()
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with running(queue, provider):
        queue.add(make_trigger(traceparent=traceparent))
        await queue.until_attempts(1)
    (message,) = provider.sent
    assert message.traceparent == traceparent


async def test_a_temporary_failure_is_retried_until_it_is_sent() -> None:
    queue, provider = MemoryQueue(), ScriptedProvider("mail", BUSY, BUSY)
    async with running(queue, provider):
        queue.add(make_trigger())
        await queue.until_attempts(3)
    assert outcomes(queue) == [AttemptOutcome.RETRY, AttemptOutcome.RETRY, AttemptOutcome.DELIVERED]
    assert [done.attempt.number for done in queue.attempts] == [1, 2, 3]
    assert len(provider.sent) == 1


async def test_the_last_failed_attempt_makes_a_dead_letter() -> None:
    queue, provider = MemoryQueue(), ScriptedProvider("mail", *[BUSY] * 5)
    async with running(queue, provider):
        queue.add(make_trigger())
        await queue.until_attempts(3)
    assert [done.attempt.number for done in queue.dead] == [3]


async def test_a_permanent_failure_makes_a_dead_letter() -> None:
    queue, provider = MemoryQueue(), ScriptedProvider("mail", ProviderError(Verdict.NEVER, "never"))
    async with running(queue, provider):
        queue.add(make_trigger())
        await queue.until_attempts(1)
    assert [done.attempt.error for done in queue.dead] == ["never"]


async def test_a_missing_campaign_makes_a_dead_letter() -> None:
    queue = MemoryQueue()
    async with running(queue, ScriptedProvider()):
        queue.add(make_trigger(campaign_id=99))
        await queue.until_attempts(1)
    assert [done.attempt.error for done in queue.dead] == ["campaign 99 no longer exists"]


async def test_an_unsupported_channel_makes_a_dead_letter() -> None:
    queue = MemoryQueue()
    campaign = make_campaign(channel=Channel.TEXT)
    trigger = Trigger(uuid.uuid4(), 1, 44, Channel.TEXT, "user-1", "+15551234567")
    async with running(queue, ScriptedProvider(), campaigns=MemoryCampaigns(campaign)):
        queue.add(trigger)
        await queue.until_attempts(1)
    assert [done.attempt.error for done in queue.dead] == ["provider mail does not support the channel text"]


async def test_a_backlog_is_sent_without_waiting_for_a_poll() -> None:
    queue, provider = MemoryQueue(), ScriptedProvider(concurrency=4)
    queue.add(*[make_trigger() for _ in range(400)])
    async with running(queue, provider, settings=SLOW_POLL):
        await queue.until_attempts(400)
    assert len(set(sent_ids(provider))) == len(provider.sent) == 400
    assert provider.most <= 4


async def test_outcomes_share_commits() -> None:
    queue, provider = MemoryQueue(), ScriptedProvider(concurrency=50)
    queue.add(*[make_trigger() for _ in range(500)])
    async with running(queue, provider):
        await queue.until_attempts(500)
    assert queue.finishes <= 100


async def test_an_idle_dispatcher_only_polls() -> None:
    queue = MemoryQueue()
    async with running(queue, ScriptedProvider()):
        await queue.clock.run(0.52)
    assert queue.claims == 11


async def test_an_announcement_wakes_the_dispatcher() -> None:
    queue, provider = MemoryQueue(), ScriptedProvider()
    async with running(queue, provider, settings=SLOW_POLL):
        for count in range(1, 20):
            queue.add(make_trigger())
            await queue.until_attempts(count)


async def test_a_hanging_provider_does_not_slow_another() -> None:
    queue = MemoryQueue()
    hanging, quick = ScriptedProvider("hanging", concurrency=2), ScriptedProvider("mail", concurrency=2)
    hanging.open.clear()
    queue.add(*[make_trigger(campaign_id=45) for _ in range(50)], provider="hanging")
    campaigns = campaigns_through("mail", "hanging")
    async with running(queue, hanging, quick, settings=SLOW_POLL, campaigns=campaigns):
        await queue.clock.run_until(hanging.reached.is_set)
        queue.add(*[make_trigger() for _ in range(200)], provider="mail")
        await queue.until_attempts(200)
        assert len(quick.sent) == 200
        assert not hanging.sent
        hanging.open.set()
        await queue.until_attempts(250)
    assert hanging.most == 2


async def test_a_send_that_times_out_is_retried() -> None:
    queue, provider = MemoryQueue(), ScriptedProvider(timeout=0.05)
    provider.open.clear()
    async with running(queue, provider):
        queue.add(make_trigger())
        await queue.until_attempts(1)
        provider.open.set()
        await queue.until_attempts(2)
    assert outcomes(queue)[0] is AttemptOutcome.RETRY
    assert queue.attempts[0].attempt.error == "no answer from mail within 0.05 s"


async def test_shutdown_waits_for_sends_and_records_them() -> None:
    queue, provider = MemoryQueue(), ScriptedProvider(concurrency=2)
    provider.open.clear()
    queue.add(*[make_trigger() for _ in range(5)])
    async with running(queue, provider) as dispatcher:
        await queue.clock.run_until(provider.reached.is_set)
        dispatcher.stop()
        provider.open.set()
    assert outcomes(queue) == [AttemptOutcome.DELIVERED] * len(provider.sent)
    assert len(provider.sent) + len(queue.rows) == 5
    assert len(provider.sent) <= 2


async def test_a_send_cut_off_by_shutdown_is_lost_and_due_again() -> None:
    queue, provider = MemoryQueue(), ScriptedProvider(concurrency=2)
    provider.open.clear()
    queue.add(*[make_trigger() for _ in range(5)])
    impatient = DispatchSettings(poll_interval=0.05, lease=30.0, shutdown_grace=0.05)
    async with running(queue, provider, settings=impatient):
        await queue.clock.run_until(provider.reached.is_set)
    assert [done.attempt.outcome for done in queue.attempts] == [AttemptOutcome.LOST] * 2
    assert all("cut off by a shutdown" in done.attempt.error for done in queue.attempts)
    assert sorted(row.attempt for row in queue.rows.values()) == [0, 0, 0, 1, 1]
    assert all(row.due <= queue.clock.now for row in queue.rows.values())


async def test_each_attempt_is_logged_in_one_line() -> None:
    queue, provider = MemoryQueue(), ScriptedProvider("mail", BUSY)
    trigger = make_trigger()
    with capture_logs() as logs:
        async with running(queue, provider):
            queue.add(trigger)
            await queue.until_attempts(2)
    first, second = (entry for entry in logs if entry["event"] == "attempt")
    assert set(first) == {
        "event", "log_level", "trigger_id", "campaign_id", "channel", "provider",
        "attempt", "outcome", "duration_ms", "next_retry_in_s", "error",
    }  # fmt: skip
    assert (first["trigger_id"], first["outcome"], first["error"]) == (str(trigger.id), "retry", "busy")
    assert (second["attempt"], second["outcome"], second["next_retry_in_s"]) == (2, "delivered", None)


async def test_logs_and_records_never_contain_the_recipient() -> None:
    faults = [
        RuntimeError(f"cannot send to <{ADDRESS}>"),
        ProviderError(Verdict.PROVIDER_DOWN, f"451 {ADDRESS.upper()} is greylisted"),
        ProviderError(Verdict.NEVER, f"550 <{ADDRESS}> zoe.sommer unknown"),
    ]
    queue, provider = MemoryQueue(), ScriptedProvider("mail", *faults)
    lines: list[str] = []

    def keep(_: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        lines.append(repr(event))
        raise structlog.DropEvent

    processors = structlog.get_config()["processors"]
    before, processors[:] = processors[:], [structlog.processors.format_exc_info, keep]
    try:
        async with running(queue, provider):
            queue.add(make_trigger())
            await queue.until_attempts(3)
    finally:
        processors[:] = before
    assert any("RuntimeError" in line and "dispatch.py" in line for line in lines)
    recorded = [done.attempt.error for done in queue.attempts]
    assert recorded[0] == "unexpected RuntimeError in provider mail"
    for text in (*lines, *recorded):
        assert "sommer" not in text.lower()


async def test_a_send_longer_than_the_lease_is_made_once() -> None:
    queue, provider, trigger = MemoryQueue(), ScriptedProvider(timeout=600.0), make_trigger()
    provider.open.clear()
    settings = DispatchSettings(poll_interval=1.0, lease=30.0)
    async with running(queue, provider, settings=settings):
        queue.add(trigger)
        await queue.clock.run(300)
        renewals = queue.renewals
        assert renewals >= 10
        assert queue.rows[trigger.id].attempt == 1
        provider.open.set()
        await queue.until_attempts(1)
        await queue.clock.run(60)
    assert sent_ids(provider) == [trigger.id]
    assert queue.renewals == renewals


@pytest.mark.parametrize(
    ("setting", "value"), [("poll_interval", 0), ("lease", 0), ("lease", 86_401), ("shutdown_grace", -1)]
)
def test_settings_out_of_range_are_rejected(setting: str, value: float) -> None:
    with pytest.raises(msgspec.ValidationError, match=setting):
        msgspec.convert({setting: value}, DispatchSettings)
