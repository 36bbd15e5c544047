"""When a send window is open: by wall clocks all over the world, and as they change."""

from __future__ import annotations

import datetime as dt
import zoneinfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.domain.campaign import SendWindow
from server.domain.window import next_opening, zone_of

DAY = SendWindow("08:00", "20:00")
NIGHT = SendWindow("22:00", "06:00")
BERLIN = zone_of("Europe/Berlin")


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).astimezone(dt.UTC)


def opening(window: SendWindow, now: str, zone: str) -> str:
    """Return the opening as the wall clock there shows it, with its offset."""
    found = next_opening(window, at(now), zone_of(zone))
    return found.astimezone(zone_of(zone)).strftime("%Y-%m-%d %H:%M %z")


def is_open(window: SendWindow, moment: dt.datetime, zone: dt.tzinfo) -> bool:
    wall = moment.astimezone(zone).strftime("%H:%M")
    if window.opens < window.closes:
        return window.opens <= wall < window.closes
    return not window.closes <= wall < window.opens


@pytest.mark.parametrize(
    ("window", "now"),
    [
        (DAY, "2026-07-01T08:00:00+02:00"),
        (DAY, "2026-07-01T12:00:00.5+02:00"),
        (DAY, "2026-07-01T19:59:59.999999+02:00"),
        (NIGHT, "2026-07-01T22:00:00+02:00"),
        (NIGHT, "2026-07-01T00:00:00+02:00"),
        (NIGHT, "2026-07-01T05:59:59+02:00"),
    ],
)
def test_an_open_window_opens_now(window: SendWindow, now: str) -> None:
    assert next_opening(window, at(now), BERLIN) == at(now)


@pytest.mark.parametrize(
    ("window", "now", "expected"),
    [
        (DAY, "2026-07-01T07:59:59.999+02:00", "2026-07-01 08:00 +0200"),
        (DAY, "2026-07-01T00:00:00+02:00", "2026-07-01 08:00 +0200"),
        (DAY, "2026-07-01T20:00:00+02:00", "2026-07-02 08:00 +0200"),
        (DAY, "2026-12-31T23:30:00+01:00", "2027-01-01 08:00 +0100"),
        (NIGHT, "2026-07-01T06:00:00+02:00", "2026-07-01 22:00 +0200"),
        (NIGHT, "2026-07-01T21:59:00+02:00", "2026-07-01 22:00 +0200"),
        (SendWindow("00:00", "23:59"), "2026-07-01T23:59:30+02:00", "2026-07-02 00:00 +0200"),
        (SendWindow("20:00", "00:00"), "2026-07-01T00:00:00+02:00", "2026-07-01 20:00 +0200"),
        (DAY, "2027-03-27T21:00:00+01:00", "2027-03-28 08:00 +0200"),  # over the change to summer time
        (DAY, "2026-10-24T21:00:00+02:00", "2026-10-25 08:00 +0100"),  # and back
    ],
)
def test_a_closed_window_opens_at_its_time(window: SendWindow, now: str, expected: str) -> None:
    assert opening(window, now, "Europe/Berlin") == expected


@pytest.mark.parametrize(
    ("window", "now", "expected"),
    [
        (SendWindow("02:30", "20:00"), "2027-03-28T01:00:00+01:00", "2027-03-28 03:00 +0200"),
        (SendWindow("02:00", "20:00"), "2027-03-28T01:59:00+01:00", "2027-03-28 03:00 +0200"),
        (SendWindow("03:00", "20:00"), "2027-03-28T01:59:00+01:00", "2027-03-28 03:00 +0200"),
        (SendWindow("02:30", "20:00"), "2027-03-27T23:00:00+01:00", "2027-03-28 03:00 +0200"),
        (SendWindow("02:30", "03:01"), "2027-03-28T01:59:59.5+01:00", "2027-03-28 03:00 +0200"),
        (SendWindow("02:10", "02:50"), "2027-03-28T01:00:00+01:00", "2027-03-29 02:10 +0200"),
        (SendWindow("02:30", "01:00"), "2027-03-28T01:30:00+01:00", "2027-03-28 03:00 +0200"),
    ],
)
def test_an_opening_skipped_in_spring_is_at_the_end_of_the_gap(
    window: SendWindow, now: str, expected: str
) -> None:
    assert opening(window, now, "Europe/Berlin") == expected


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-10-25T01:00:00+02:00", "2026-10-25 02:30 +0200"),
        ("2026-10-25T02:29:00+02:00", "2026-10-25 02:30 +0200"),
        ("2026-10-25T02:50:00+02:00", "2026-10-25 02:30 +0100"),  # closed, and shown again
        ("2026-10-25T02:50:00+01:00", "2026-10-26 02:30 +0100"),
    ],
)
def test_an_opening_repeated_in_autumn_is_the_next_one(now: str, expected: str) -> None:
    assert opening(SendWindow("02:30", "02:45"), now, "Europe/Berlin") == expected


@pytest.mark.parametrize(
    ("zone", "now", "expected"),
    [
        ("Pacific/Apia", "2011-12-29T21:00:00-10:00", "2011-12-31 08:00 +1400"),  # a day that never was
        ("Pacific/Kiritimati", "2026-07-01T00:00:00+00:00", "2026-07-01 14:00 +1400"),
        ("Etc/GMT+12", "2026-07-01T00:00:00+00:00", "2026-06-30 12:00 -1200"),
        ("Asia/Kathmandu", "2026-07-01T00:00:00+00:00", "2026-07-01 08:00 +0545"),
        ("Australia/Lord_Howe", "2026-10-03T16:00:00+00:00", "2026-10-04 08:00 +1100"),  # half an hour
        ("America/St_Johns", "2026-07-01T10:00:00+00:00", "2026-07-01 08:00 -0230"),
        ("Pacific/Apia", "2011-12-29T23:59:59-10:00", "2011-12-31 08:00 +1400"),
        ("Antarctica/Troll", "2026-03-29T00:30:00+00:00", "2026-03-29 08:00 +0200"),  # two hours
    ],
)
def test_zones_with_odd_offsets(zone: str, now: str, expected: str) -> None:
    assert opening(DAY, now, zone) == expected


@pytest.mark.parametrize(
    ("name", "fallback", "expected"),
    [
        ("Asia/Tokyo", "Europe/Berlin", "Asia/Tokyo"),
        ("", "Europe/Berlin", "Europe/Berlin"),
        ("Mars/Base", "Europe/Berlin", "Europe/Berlin"),
        ("../../etc/passwd", "Europe/Berlin", "Europe/Berlin"),
        ("/etc/localtime", "Europe/Berlin", "Europe/Berlin"),
        ("Europe", "Europe/Berlin", "Europe/Berlin"),  # a folder
        ("Europe/Ber\0lin", "Europe/Berlin", "Europe/Berlin"),
        ("x" * 5000, "Europe/Berlin", "Europe/Berlin"),
        ("\udce4", "Europe/Berlin", "Europe/Berlin"),
        ("", "", "UTC"),
        ("Mars/Base", "Venus/Base", "UTC"),
    ],
)
def test_an_unknown_zone_falls_back_to_the_projects_and_utc(name: str, fallback: str, expected: str) -> None:
    assert str(zone_of(name, fallback)) == expected


@pytest.mark.parametrize(
    ("zone", "window", "now", "expected"),
    [
        ("Africa/Cairo", "00:15-20:00", "2026-04-23T22:00:00+02:00", "2026-04-24 01:00 +0300"),
        ("America/Havana", "00:30-09:00", "2026-03-07T23:00:00-05:00", "2026-03-08 01:00 -0400"),
        ("Australia/Lord_Howe", "02:10-20:00", "2026-10-03T14:00:00+00:00", "2026-10-04 02:30 +1100"),
        ("Pacific/Apia", "22:00-06:00", "2011-12-30T07:00:00-10:00", "2011-12-31 22:00 +1400"),
        ("Pacific/Apia", "22:00-21:00", "2011-12-29T21:30:00-10:00", "2011-12-29 22:00 -1000"),
    ],
)
def test_gaps_of_other_lengths(zone: str, window: str, now: str, expected: str) -> None:
    assert opening(SendWindow(*window.split("-")), now, zone) == expected


clocks = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
windows = st.builds(SendWindow, clocks, clocks).filter(lambda window: window.opens != window.closes)
moments = st.builds(dt.datetime.fromtimestamp, st.integers(150_000_000, 4_000_000_000), st.just(dt.UTC))
zones = st.sampled_from(sorted(zoneinfo.available_timezones() - {"localtime", "posixrules"}))
# Half of all cases near a change of the clock, where it matters.
CHANGES = [at("2027-03-28T01:00:00+00:00"), at("2026-10-25T01:00:00+00:00"), at("2011-12-30T10:00:00+00:00")]
near_changes = st.builds(
    lambda change, minutes: change + dt.timedelta(minutes=minutes),
    st.sampled_from(CHANGES),
    st.integers(-2000, 2000),
)


@settings(deadline=None)
@given(windows, moments | near_changes, zones | st.sampled_from(["Europe/Berlin", "Pacific/Apia"]))
def test_the_window_is_open_at_the_next_opening(window: SendWindow, now: dt.datetime, zone: str) -> None:
    found = next_opening(window, now, zone_of(zone))
    assert now <= found <= now + dt.timedelta(hours=50)
    assert is_open(window, found, zone_of(zone))
    assert (found == now) == is_open(window, now, zone_of(zone))


@settings(deadline=None)
@given(windows, near_changes)
def test_the_window_is_closed_until_the_next_opening(window: SendWindow, now: dt.datetime) -> None:
    found = next_opening(window, now, BERLIN)
    minutes = round((found - now).total_seconds() // 60)
    before = [now + dt.timedelta(minutes=number) for number in range(minutes)]
    opened = [moment.astimezone(BERLIN) for moment in before if is_open(window, moment, BERLIN)]
    assert all(moment.fold for moment in opened)  # in autumn, the hour is shown again
