"""Clocks that jump: the dispatcher's waits, breakers and paces go by one that nobody can set."""

from __future__ import annotations

import datetime as dt
import inspect
import time
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from server.dispatcher import trigger_sender as delivery
from server.dispatcher.router import ProviderRouter
from server.dispatcher.trigger_sender import TriggerSender
from server.domain.delivery import AttemptOutcome, Finished
from server.errors import Transient
from server.store.queue.scan_floor import LOOK_BACK, LOOK_BACK_EVERY, ScanFloors
from tests.kit.clock import FakeClock
from tests.kit.dispatch import MemoryCampaigns, ScriptedProvider, make_campaign, make_claim

DISPATCH = Path(delivery.__file__).parent
NOON = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


@pytest.fixture(autouse=True)
def _plain_logging() -> Iterator[None]:
    with capture_logs():
        yield


class WallClock:
    """Stands in for the module `datetime`, and is set by `step` whenever somebody looks."""

    UTC, timedelta = dt.UTC, dt.timedelta

    def __init__(self, step: dt.timedelta) -> None:
        self.time, self.step = NOON, step
        self.datetime = types.SimpleNamespace(now=self.look)

    def look(self, _zone: dt.tzinfo) -> dt.datetime:
        self.time += self.step
        return self.time


@pytest.mark.parametrize("step", [-24 * HOUR, 24 * HOUR], ids=["set back", "set forward"])
@pytest.mark.parametrize("fault", [None, Transient("busy", retry_after=3.0)], ids=["delivered", "retry"])
async def test_an_attempts_length_and_its_next_try_do_not_depend_on_a_clock_that_is_set(
    monkeypatch: pytest.MonkeyPatch, step: dt.timedelta, fault: Transient | None
) -> None:
    provider = ScriptedProvider("mail", *([fault] if fault else []))
    monkeypatch.setattr(delivery, "dt", WallClock(step))
    attempted = await TriggerSender(MemoryCampaigns(make_campaign()), {"mail": provider}).attempt(
        make_claim()
    )

    assert isinstance(attempted.outcome, Finished)
    assert 0 <= attempted.outcome.attempt.duration < 5
    assert attempted.outcome.attempt.started_at == NOON + step
    assert attempted.outcome.retry_in == (3.0 if fault else None)


async def test_a_clock_set_forward_past_a_time_to_live_ends_in_a_text_that_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    provider, claim = ScriptedProvider(), replace(make_claim(), expires_at=NOON + HOUR)
    monkeypatch.setattr(delivery, "dt", WallClock(2 * HOUR))
    attempted = await TriggerSender(MemoryCampaigns(make_campaign()), {"mail": provider}).attempt(claim)

    assert isinstance(attempted.outcome, Finished)
    assert attempted.outcome.attempt.outcome is AttemptOutcome.DEAD
    assert attempted.outcome.attempt.error == "its time to live ended"
    assert not provider.sent


@pytest.mark.parametrize("keeper", [ProviderRouter, ScanFloors], ids=["breakers and paces", "floors"])
def test_what_waits_goes_by_the_monotonic_clock(keeper: type) -> None:
    assert inspect.signature(keeper).parameters["clock"].default is time.monotonic


def test_no_part_of_the_dispatcher_measures_time_by_a_clock_that_can_be_set() -> None:
    """What tells the time of day has reasons: tokens and answers of providers name moments."""
    allowed = {"providers/fcm.py", "providers/apns.py", "providers/tokens.py", "providers/sendgrid.py"}
    found = {
        str(path.relative_to(DISPATCH))
        for path in DISPATCH.rglob("*.py")
        if "time.time" in path.read_text(encoding="utf-8")
    }
    assert found <= allowed


def test_a_floor_follows_a_database_whose_clock_was_set_back() -> None:
    clock = FakeClock()
    floors = ScanFloors(clock)
    floors.of("lane")
    floors.claimed("lane", NOON, NOON)
    assert NOON - dt.timedelta(seconds=1) < floors.of("lane") < NOON
    floors.claimed("lane", NOON - HOUR, NOON - HOUR)  # the first claim after the clock was set back
    assert floors.of("lane") <= NOON - HOUR
    clock.advance(LOOK_BACK_EVERY)
    assert floors.of("lane") == NOON - HOUR - LOOK_BACK
