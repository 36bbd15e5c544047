"""Where an accepted trigger goes, when it is due, and until when it is worth anything."""

from __future__ import annotations

import datetime as dt

import pytest

from server.domain.campaign import Channel, RetryPolicy, SendWindow, lane_of
from server.domain.placement import Placement, place
from tests.kit.dispatch import make_campaign

NOON = dt.datetime(2026, 7, 1, 12, 0, tzinfo=dt.UTC)
MORNINGS = SendWindow("08:00", "10:00")
HOUR = dt.timedelta(hours=1)
MINUTE = dt.timedelta(minutes=1)


@pytest.mark.parametrize(
    ("channel", "providers", "lane"),
    [
        (Channel.EMAIL, ("smtp",), "email/smtp"),
        (Channel.EMAIL, ("smtp", "backup"), "email/smtp,backup"),
        (Channel.EMAIL, ("backup", "smtp"), "email/backup,smtp"),
        (Channel.TEXT, ("smtp",), "text/smtp"),
    ],
)
def test_a_lane_is_a_channel_with_its_providers_in_their_order(
    channel: Channel, providers: tuple[str, ...], lane: str
) -> None:
    campaign = make_campaign(channel=channel, providers=providers, retry=None)
    assert campaign.lane == lane_of(channel, providers) == lane
    assert place(campaign, "", "UTC", NOON) == Placement(lane)


def test_plain_trigger_is_due_at_once_and_never_expires() -> None:
    for retry in (None, RetryPolicy(), RetryPolicy(max_attempts=3)):
        placed = place(make_campaign(retry=retry), "Asia/Tokyo", "UTC", NOON)
        assert placed == Placement("email/mail", None, None)


def test_a_time_to_live_counts_from_acceptance() -> None:
    placed = place(make_campaign(retry=RetryPolicy(ttl=90)), "", "UTC", NOON)
    assert placed == Placement("email/mail", None, NOON + dt.timedelta(seconds=90))


@pytest.mark.parametrize(
    ("timezone", "fallback", "due"),
    [
        ("America/New_York", "Europe/Berlin", None),  # 08:00 there
        ("Europe/Berlin", "America/New_York", NOON + 18 * HOUR),
        ("", "America/New_York", None),
        ("", "Europe/Berlin", NOON + 18 * HOUR),
        ("Mars/Base", "Europe/Berlin", NOON + 18 * HOUR),
        ("America/Los_Angeles", "UTC", NOON + 3 * HOUR),
    ],
)
def test_window_opens_in_the_users_or_projects_time_zone(
    timezone: str, fallback: str, due: dt.datetime | None
) -> None:
    placed = place(make_campaign(window=MORNINGS), timezone, fallback, NOON)
    assert placed == Placement("email/mail", due)


def test_a_time_to_live_may_end_before_the_window_opens() -> None:
    campaign = make_campaign(window=MORNINGS, retry=RetryPolicy(ttl=3600))
    assert place(campaign, "UTC", "UTC", NOON) == Placement("email/mail", NOON + 20 * HOUR, NOON + HOUR)


@pytest.mark.parametrize(
    ("send_at", "window", "ttl", "expected"),
    [
        (NOON + HOUR, None, 0.0, Placement("email/mail", NOON + HOUR)),
        (NOON - dt.timedelta(seconds=30), None, 0.0, Placement("email/mail")),
        (NOON + HOUR, None, 60.0, Placement("email/mail", NOON + HOUR, NOON + HOUR + MINUTE)),
        (NOON + 21 * HOUR, MORNINGS, 0.0, Placement("email/mail", NOON + 21 * HOUR)),
        (NOON + HOUR, MORNINGS, 0.0, Placement("email/mail", NOON + 20 * HOUR)),
        (NOON + 22 * HOUR, MORNINGS, 0.0, Placement("email/mail", NOON + 44 * HOUR)),
    ],
)
def test_window_and_ttl_count_from_send_at(
    send_at: dt.datetime, window: SendWindow | None, ttl: float, expected: Placement
) -> None:
    campaign = make_campaign(window=window, retry=RetryPolicy(ttl=ttl))
    assert place(campaign, "UTC", "UTC", NOON, send_at) == expected
