"""Clocks that jump: the dispatcher's waits, breakers and rates go by one that cannot be set."""

from __future__ import annotations

import datetime as dt
import inspect
import re
import time
from pathlib import Path

import msgspec
import pytest

from server import dispatcher
from server.dispatcher.attempt import AttemptRunner
from server.dispatcher.dispatcher import Dispatcher
from server.dispatcher.recorder import Recorder
from server.dispatcher.router import ProviderRouter
from server.dispatcher.trigger_sender import TriggerSender
from server.domain.clock import SYSTEM_CLOCK
from server.domain.delivery import AttemptOutcome, Claim, Finished
from server.domain.delivery_errors import ProviderError, Verdict
from server.store.queue.scan_floor import LOOK_BACK, LOOK_BACK_EVERY, ScanFloors
from tests.kit.clock import FakeClock
from tests.kit.dispatch import MemoryCampaigns, ScriptedProvider, make_campaign, make_claim

pytestmark = pytest.mark.usefixtures("quiet_logs")

DISPATCH = Path(dispatcher.__file__).parent
NOON = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


class JumpingClock(FakeClock):
    """A clock whose time of day is set by `step` whenever it is read."""

    def __init__(self, step: dt.timedelta) -> None:
        super().__init__()
        self.time_of_day, self.step = NOON, step

    def utc(self) -> dt.datetime:
        self.time_of_day += self.step
        return self.time_of_day


def runner(clock: FakeClock, provider: ScriptedProvider) -> AttemptRunner[Claim]:
    sender = TriggerSender(MemoryCampaigns(make_campaign()), {provider.name: provider}, clock)
    return AttemptRunner(sender, clock)


@pytest.mark.parametrize("step", [-24 * HOUR, 24 * HOUR], ids=["set back", "set forward"])
@pytest.mark.parametrize("verdict", [None, Verdict.PROVIDER_DOWN], ids=["delivered", "retry"])
async def test_setting_the_clock_changes_no_duration_or_delay(
    step: dt.timedelta, verdict: Verdict | None
) -> None:
    script = [ProviderError(verdict, "busy", retry_after=3.0)] if verdict else []
    attempted = await runner(JumpingClock(step), ScriptedProvider("mail", *script)).attempt(make_claim())

    assert isinstance(attempted.outcome, Finished)
    assert attempted.outcome.attempt.duration == 0
    assert attempted.outcome.attempt.started_at == NOON + step
    assert attempted.outcome.retry_in == (3.0 if verdict else None)


async def test_a_clock_set_past_the_ttl_expires_the_message() -> None:
    provider, claim = ScriptedProvider(), msgspec.structs.replace(make_claim(), expires_at=NOON + HOUR)
    attempted = await runner(JumpingClock(2 * HOUR), provider).attempt(claim)

    assert isinstance(attempted.outcome, Finished)
    assert attempted.outcome.attempt.outcome is AttemptOutcome.DEAD
    assert attempted.outcome.attempt.error == "its time to live ended"
    assert not provider.sent


def test_the_system_clock_measures_by_the_monotonic_clock() -> None:
    assert SYSTEM_CLOCK.monotonic is time.monotonic
    for part in (Dispatcher, Recorder, ProviderRouter, AttemptRunner, TriggerSender):
        assert inspect.signature(part).parameters["clock"].default is SYSTEM_CLOCK


def test_scan_floors_go_by_the_monotonic_clock() -> None:
    assert inspect.signature(ScanFloors).parameters["clock"].default is time.monotonic


def test_only_providers_read_the_time_of_day() -> None:
    """Tokens and answers of some providers contain times of day; everything else goes by the clock."""
    allowed = {
        "providers/http.py",
        "providers/fcm.py",
        "providers/apns.py",
        "providers/tokens.py",
        "providers/sendgrid.py",
        "providers/sandbox.py",  # files have times of day
        "providers/smtp/dkim.py",
    }
    found = {
        str(path.relative_to(DISPATCH))
        for path in DISPATCH.rglob("*.py")
        if re.search(r"\btime\.time\b|datetime\.now", path.read_text(encoding="utf-8"))
    }
    assert found <= allowed


def test_a_floor_follows_a_database_clock_that_was_set_back() -> None:
    clock = FakeClock()
    floors = ScanFloors(clock)
    floors.of("lane")
    floors.record_claimed("lane", NOON, NOON)
    assert NOON - dt.timedelta(seconds=1) < floors.of("lane") < NOON
    floors.record_claimed("lane", NOON - HOUR, NOON - HOUR)  # the first claim after the clock was set back
    assert floors.of("lane") <= NOON - HOUR
    clock.advance(LOOK_BACK_EVERY)
    assert floors.of("lane") == NOON - HOUR - LOOK_BACK
