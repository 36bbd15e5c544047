"""The recipients of tests, and that no provider gets the message of one."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import msgspec
import pytest

from server.channels.email_address import email_problem
from server.channels.text import phone_problem
from server.dispatcher.ports import SendPlan
from server.dispatcher.test_recipients import TEST_RETRIES, Scenario, answer, scenario_of
from server.dispatcher.trigger_sender import TriggerSender
from server.domain.campaign import TEST_PROVIDER, Channel, RetryPolicy, is_test_lane
from server.domain.delivery import Released
from server.domain.delivery_errors import DeliveryError, ProviderError, Verdict
from server.domain.idempotency import IdempotencyKey
from server.domain.placement import place
from server.domain.trigger import Trigger
from tests.kit.cases import each_case
from tests.kit.dispatch import MemoryCampaigns, ScriptedProvider, make_campaign, make_claim, make_trigger

NOW = dt.datetime(2030, 1, 1, 12, tzinfo=dt.UTC)
REFERENCE = Path(__file__).parents[2] / "docs/reference/test-recipients.md"
EMAIL, TEXT, PUSH = Channel.EMAIL, Channel.TEXT, Channel.PUSH


@each_case(
    ("channel", "address", "scenario"),
    [
        (EMAIL, "delivered@clarion.test", Scenario.DELIVERED),
        (EMAIL, "Refused@Clarion.TEST", Scenario.REFUSED),
        (EMAIL, "dead+order-7@clarion.test", Scenario.DEAD),
        (EMAIL, "dead@clarion.test.example", Scenario.DELIVERED),
        (EMAIL, "deadly@clarion.test", Scenario.DELIVERED),
        (TEXT, "+12025550101", Scenario.REFUSED),
        (TEXT, "+12025550199", Scenario.DELIVERED),
        (PUSH, "clarion-test-throttled", Scenario.THROTTLED),
        (PUSH, "refused@clarion.test", Scenario.DELIVERED),
    ],
)
def test_recipients_choose_the_outcome(channel: Channel, address: str, scenario: Scenario) -> None:
    assert scenario_of(channel, address) is scenario


def test_documented_recipients_are_those_that_work() -> None:
    """Each row of the reference's table names a valid recipient of every channel, with the same outcome."""
    rows = re.findall(r"^\| `(\S+)` \| `(\S+)` \| `(\S+)` \|", REFERENCE.read_text(), re.MULTILINE)
    assert len(rows) == len(Scenario)
    for scenario, (email, phone, token) in zip(Scenario, rows, strict=True):
        assert email_problem(email) is phone_problem(phone) is None
        assert {scenario_of(EMAIL, email), scenario_of(TEXT, phone), scenario_of(PUSH, token)} == {scenario}


def test_throttled_message_is_accepted_by_the_second_attempt() -> None:
    with pytest.raises(ProviderError) as caught:
        answer(EMAIL, "throttled@clarion.test", 1)
    assert (caught.value.verdict, caught.value.retry_after) == (Verdict.LATER, 1.0)
    answer(EMAIL, "throttled@clarion.test", 2)


def test_lane_of_tests_is_not_that_of_a_provider() -> None:
    campaign = make_campaign(retry=None)
    assert is_test_lane(place(campaign, "", "UTC", NOW, test=True).lane)
    assert is_test_lane(place(campaign, "", "UTC", NOW, NOW + dt.timedelta(hours=1), test=True).lane)
    assert not is_test_lane(place(campaign, "", "UTC", NOW).lane)


def test_idempotency_keys_of_tests_are_separate() -> None:
    live = make_trigger()
    of_live, of_test = IdempotencyKey.of("k", live), IdempotencyKey.of("k", as_test(live))
    assert of_live.key == "k"
    assert of_live.key != of_test.key


def as_test(trigger: Trigger) -> Trigger:
    return msgspec.structs.replace(trigger, test=True)


async def test_no_provider_gets_the_message_of_a_test() -> None:
    provider = ScriptedProvider(TEST_PROVIDER)
    mail = ScriptedProvider()
    campaign = make_campaign(retry=RetryPolicy(max_attempts=1, first_delay=86_400))
    providers = {"mail": mail, TEST_PROVIDER: provider}
    sender = TriggerSender(MemoryCampaigns(campaign), providers)
    trigger = as_test(make_trigger("refused@clarion.test"))
    in_real_lane = make_claim(trigger)
    assert isinstance(await sender.plan(in_real_lane, NOW), Released)
    claim = msgspec.structs.replace(in_real_lane, lane=campaign.lane_for(test=True), provider="mail")
    plan = await sender.plan(claim, NOW)
    assert isinstance(plan, SendPlan)
    assert plan.policy == TEST_RETRIES
    with pytest.raises(DeliveryError, match="does not exist"):
        await plan.send()
    of_deleted = await TriggerSender(MemoryCampaigns(), providers).plan(in_real_lane, NOW)
    assert isinstance(of_deleted, SendPlan)
    with pytest.raises(DeliveryError, match="no longer exists"):
        await of_deleted.send()
    live = msgspec.structs.replace(make_claim(), lane=campaign.lane_for(test=True))
    assert isinstance(await sender.plan(live, NOW), Released)
    assert provider.sent == mail.sent == []
