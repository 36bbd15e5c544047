"""The version of the campaign that each attempt records."""

from __future__ import annotations

import datetime as dt

import msgspec
from msgspec.structs import replace

from server.channels.email_message import Email
from server.dispatcher.attempt import cut_off
from server.dispatcher.ports import SendPlan
from server.dispatcher.trigger_sender import TriggerSender
from server.domain.campaign import Template
from server.domain.delivery import AttemptOutcome
from server.domain.delivery_errors import ProviderError, Verdict
from tests.kit.dispatch import (
    MemoryCampaigns,
    MemoryQueue,
    ScriptedProvider,
    make_campaign,
    make_claim,
    make_trigger,
    running,
)


def versions(queue: MemoryQueue) -> list[tuple[AttemptOutcome, int | None]]:
    return [(done.attempt.outcome, done.attempt.campaign_version) for done in queue.attempts]


async def test_each_attempt_records_the_version_it_used() -> None:
    queue, campaigns = MemoryQueue(), MemoryCampaigns(make_campaign(revision=7))
    provider = ScriptedProvider("mail", ProviderError(Verdict.PROVIDER_DOWN, "busy"))
    async with running(queue, provider, campaigns=campaigns):
        queue.add(make_trigger())
        await queue.until_attempts(1)
        campaigns.all[1, 44] = make_campaign(revision=8)
        await queue.until_attempts(2)
    assert versions(queue) == [(AttemptOutcome.RETRY, 7), (AttemptOutcome.DELIVERED, 8)]


async def test_test_keys_record_the_version_too() -> None:
    campaign = make_campaign(revision=7)
    trigger = msgspec.structs.replace(make_trigger(), test=True)
    claim = replace(make_claim(trigger), lane=campaign.lane_for(test=True))
    plan = await TriggerSender(MemoryCampaigns(campaign), {}).plan(claim, dt.datetime.now(dt.UTC))
    assert isinstance(plan, SendPlan)
    assert plan.campaign_version == 7


async def test_a_suppressed_recipient_has_no_version() -> None:
    queue, campaigns = MemoryQueue(), MemoryCampaigns(make_campaign(revision=7))
    async with running(queue, ScriptedProvider(), campaigns=campaigns):
        queue.add(make_trigger(), suppressed="550 unknown")
        await queue.until_attempts(1)
    assert versions(queue) == [(AttemptOutcome.SUPPRESSED, None)]


def test_an_attempt_cut_off_by_a_shutdown_has_its_version() -> None:
    finished = cut_off(make_claim(), dt.datetime.now(dt.UTC), 0.1, 7)
    assert (finished.attempt.outcome, finished.attempt.campaign_version) == (AttemptOutcome.LOST, 7)


async def test_a_draft_that_is_tested_has_no_version() -> None:
    """It is sent as it is, whatever the campaign's lane is now."""
    campaigns = MemoryCampaigns(make_campaign(revision=7, providers=("other",)))
    provider = ScriptedProvider()
    draft = make_campaign(revision=-5, templates={"default": Template(text="Draft {{ event.id }}")})
    claim = replace(make_claim(make_trigger(event='{"id": 7}')), content=draft)
    plan = await TriggerSender(campaigns, {"mail": provider}).plan(claim, dt.datetime.now(dt.UTC))
    assert isinstance(plan, SendPlan)
    assert plan.campaign_version is None
    await plan.send()
    [message] = provider.sent
    assert isinstance(message, Email)
    assert message.text == "Draft 7"
