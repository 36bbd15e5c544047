"""What follows when a message may have arrived, by the provider's policy."""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest

from server.dispatcher.attempt import conclude, not_sent
from server.dispatcher.ports import DoubtPolicy, SendPlan, SendResult
from server.dispatcher.providers.apns import ApnsSettings
from server.dispatcher.providers.base import SendingPolicy
from server.dispatcher.providers.fcm import FcmSettings
from server.domain.campaign import RetryPolicy
from server.domain.delivery import AttemptOutcome, Claim, Finished
from server.domain.delivery_errors import ProviderError, Verdict
from tests.kit.dispatch import MemoryQueue, ScriptedProvider, make_claim, make_trigger, outcomes, running

NOW = dt.datetime(2026, 11, 28, 9, 0, tzinfo=dt.UTC)
DOUBT = SendResult(Verdict.IN_DOUBT, "no answer within 600 s")
ARRIVED = "no answer within 600 s; the message may have arrived"
RETRIES = RetryPolicy(max_attempts=3, first_delay=2.0)


async def _unused() -> SendResult:
    raise AssertionError("nothing is sent here")


def after(
    result: SendResult, doubt: DoubtPolicy, claim: Claim | None = None, expires_at: dt.datetime | None = None
) -> Finished:
    plan = SendPlan(_unused, RETRIES, expires_at, in_doubt=doubt)
    return conclude(claim or make_claim(), plan, result, jitter=0.5, started_at=NOW, duration=1.0)


def ending(finished: Finished) -> tuple[AttemptOutcome, float | None, str]:
    return finished.attempt.outcome, finished.retry_in, finished.attempt.error


@pytest.mark.parametrize(
    ("policy", "retry_in"),
    [(DoubtPolicy("repeat"), 1.0), (DoubtPolicy("hold", 1800.0), 1800.0), (DoubtPolicy("give_up"), None)],
    ids=lambda one: getattr(one, "action", ""),
)
def test_each_policy_decides_when_to_repeat(policy: DoubtPolicy, retry_in: float | None) -> None:
    assert ending(after(DOUBT, policy)) == (AttemptOutcome.IN_DOUBT, retry_in, ARRIVED)


def test_a_held_message_is_repeated_once() -> None:
    second = msgspec.structs.replace(make_claim(attempt=2), doubts=1, may_have_arrived=True)
    assert ending(after(DOUBT, DoubtPolicy("hold", 1800.0), second)) == (
        AttemptOutcome.IN_DOUBT,
        None,
        ARRIVED,
    )


def test_other_failures_are_not_held() -> None:
    down = SendResult(Verdict.PROVIDER_DOWN, "421 busy")
    held = after(down, DoubtPolicy("hold", 1800.0))
    assert ending(held) == (AttemptOutcome.RETRY, 1.0, "421 busy")


def test_a_dead_letter_says_that_it_may_have_arrived() -> None:
    claim = msgspec.structs.replace(make_claim(attempt=2), doubts=1, may_have_arrived=True)
    refused = SendResult(Verdict.NEVER, "554 no")
    error = "554 no; an earlier attempt may have delivered it"
    assert ending(after(refused, DoubtPolicy(), claim)) == (AttemptOutcome.DEAD, None, error)


def test_a_used_up_message_may_have_arrived() -> None:
    claim = msgspec.structs.replace(make_claim(attempt=4), may_have_arrived=True)
    unsent = not_sent(claim, SendPlan(_unused, RETRIES), NOW)
    assert unsent
    assert unsent.attempt.error.endswith("; an earlier attempt may have delivered it")


def test_a_hold_beyond_the_expiry_gives_up() -> None:
    soon = NOW + dt.timedelta(minutes=5)
    outcome, retry_in, error = ending(after(DOUBT, DoubtPolicy("hold", 1800.0), expires_at=soon))
    assert (outcome, retry_in) == (AttemptOutcome.IN_DOUBT, None)
    assert error == f"{ARRIVED}; its time to live ends before the next attempt"


def test_doubt_counts_for_the_breaker() -> None:
    assert {one for one in Verdict if one.blames_provider} == {Verdict.PROVIDER_DOWN, Verdict.IN_DOUBT}


def test_push_is_repeated_because_devices_show_it_once() -> None:
    assert SendingPolicy().in_doubt == "hold"
    for kind in (ApnsSettings, FcmSettings):
        defaults = {field.name: field.default for field in msgspec.structs.fields(kind)}
        assert defaults["in_doubt"] == "repeat"


async def test_a_held_message_keeps_its_place_in_the_queue() -> None:
    policy = SendingPolicy(breaker_failures=0, in_doubt_hold=600.0)
    queue, trigger = MemoryQueue(), make_trigger()
    mail = ScriptedProvider("mail", ProviderError(Verdict.IN_DOUBT, "gone"), policy=policy)
    async with running(queue, mail):
        queue.add(trigger)
        await queue.until_attempts(1)
        assert queue.rows[trigger.id].due == pytest.approx(queue.clock.now + 600.0)
        assert outcomes(queue) == [AttemptOutcome.IN_DOUBT]
