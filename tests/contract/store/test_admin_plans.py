"""Lists and counts of the admin API read a bounded number of rows, however many there are."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from server.domain.campaign import Channel
from server.domain.delivery import DeliveryState
from server.store.admin import suppressions
from server.store.admin.suppressions import SuppressionFilter, count_stopped, list_suppressions
from server.store.pool import Pool
from server.store.records import admin_lists, admin_pages
from server.store.records.admin_lists import AdminFilter, backlog
from server.store.records.admin_pages import count_changeable, dead_letter_groups, list_page
from server.store.statistics import read
from tests.kit.query_plans import Explained

BOUND = 100
LONG_AGO = dt.datetime(2025, 11, 24, 16, 30, tzinfo=dt.UTC)
"""Half of the triggers are older."""
FILL = """
    INSERT INTO campaign (project_id, id, name, channel, provider, state, sender, templates, retry, revision)
        SELECT p, c, '', 'email', '', 'active', '', '{}', '{}', 1
        FROM generate_series(1, 2) AS p, generate_series(1, 4) AS c;
    INSERT INTO trigger (id, project_id, campaign_id, channel, external_id, address, timezone, locale,
            user_data, event, accepted_at)
        SELECT (lpad(to_hex(1764000000000 + n * 1000), 12, '0') || '7000' || '8000' || lpad(n::text, 12, '0'))
                ::uuid, 1 + n % 2, 1 + n / 2 % 4, 'email', 'user-' || n % 4, 'user-' || n % 4 ||
            '@example.com', '', '', '', '', to_timestamp(1764000000 + n)
        FROM generate_series(1::bigint, 4000) AS n;
    INSERT INTO queue (trigger_id, lane) SELECT id, 'email/a' FROM trigger ORDER BY id DESC LIMIT 500;
    INSERT INTO attempt (trigger_id, number, provider, outcome, started_at, duration, provider_message_id,
            error)
        SELECT id, 1, 'a', CASE WHEN id::text < '019aafb8' THEN 'dead' ELSE 'suppressed' END, now(), 0, '',
            'error 17'
        FROM trigger WHERE id NOT IN (SELECT trigger_id FROM queue);
    INSERT INTO dead_letter (trigger_id, error) SELECT id, 'error 17' FROM trigger ORDER BY id LIMIT 2000;
    INSERT INTO cancellation (trigger_id)
        SELECT id FROM trigger WHERE id NOT IN (SELECT trigger_id FROM queue) ORDER BY id DESC LIMIT 500;
    INSERT INTO suppression (project_id, channel, address, reason, provider, trigger_id, created_at)
        SELECT 1 + n % 2, 'email', n || '@example.com', '', '', gen_random_uuid(), now() - n * interval '1 s'
        FROM generate_series(1, 20000) AS n;
    ANALYZE trigger, queue, attempt, dead_letter, cancellation, campaign, suppression
"""
FILTERS = {
    "everything": AdminFilter(),
    "project": AdminFilter(project="two"),
    "visible projects": AdminFilter(visible=frozenset({2})),
    "campaign": AdminFilter(campaign_id=3),
    "user": AdminFilter(external_id="user-1"),
    "address": AdminFilter(address="user-1@example.com"),
    "error": AdminFilter(error="nothing"),
    "error group": AdminFilter(error_group="nothing"),
    "provider": AdminFilter(provider="b"),
    "before": AdminFilter(before=LONG_AGO),
    "since": AdminFilter(since=LONG_AGO),
}
Check = Callable[[Any], Awaitable[object]]


@pytest.fixture
async def explained(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> Explained:
    for module, name in (
        (admin_pages, "_SCANNED_FIRST"),
        (admin_pages, "_SCANNED"),
        (admin_pages, "_COUNTED"),
        (admin_pages, "_GROUPED"),
        (admin_lists, "MOST_COUNTED"),
        (suppressions, "_SCANNED"),
        (suppressions, "_STOPPED"),
        (read, "_NEWEST_DEAD"),
    ):
        monkeypatch.setattr(module, name, BOUND)
    await pool.execute(FILL)
    return Explained(pool)


async def too_much(explained: Explained, name: str, call: Check) -> list[str]:
    """Make a call; return what it read too much of."""
    explained.most_of_all, explained.scanned = 0, set()
    await call(explained)
    tables = explained.scanned - {"project"}
    # Two projects, each with a bounded number; or the newest of two tables.
    return (
        [f"{name}: {explained.most_of_all} rows, {tables}"]
        if tables or explained.most_of_all > 2 * BOUND
        else []
    )


@pytest.mark.usefixtures("new_tables")
async def test_each_page_of_deliveries_is_bounded(explained: Explained) -> None:
    wrong = []
    for name, wanted in FILTERS.items():
        for state in (None, *DeliveryState):
            wrong += await too_much(
                explained,
                f"{state} by {name}",
                lambda pool, wanted=wanted, state=state: list_page(pool, wanted, state=state, limit=51),  # type: ignore[misc]
            )
    assert wrong == []


@pytest.mark.usefixtures("new_tables")
async def test_each_count_is_bounded(explained: Explained) -> None:
    wrong = []
    for name, wanted in FILTERS.items():
        for dead in (True, False):
            wrong += await too_much(
                explained,
                f"{'dead' if dead else 'waiting'} by {name}",
                lambda pool, wanted=wanted, dead=dead: count_changeable(pool, wanted, dead=dead),  # type: ignore[misc]
            )
    one_project = read.StatisticsFilter(project_id=2)
    wrong += await too_much(explained, "groups", lambda pool: dead_letter_groups(pool, AdminFilter()))
    wrong += await too_much(explained, "dead letters", lambda pool: read.dead_letters(pool, one_project))
    wrong += await too_much(explained, "backlog", backlog)
    wrong += await too_much(explained, "stopped", lambda pool: count_stopped(pool, SuppressionFilter()))
    assert wrong == []


@pytest.mark.usefixtures("new_tables")
async def test_each_page_of_suppressions_is_bounded(explained: Explained) -> None:
    filters = {
        "everything": SuppressionFilter(),
        "project": SuppressionFilter(project="two"),
        "channel": SuppressionFilter(channel=Channel.EMAIL),
        "visible project": SuppressionFilter(visible=frozenset({2})),
        "visible projects": SuppressionFilter(visible=frozenset({2, 3})),
        "address": SuppressionFilter(address="unknown@example.com"),
        "reason": SuppressionFilter(reason="nothing"),
        "reason in a project": SuppressionFilter(project="two", reason="nothing"),
        "provider": SuppressionFilter(provider="nothing"),
        "since": SuppressionFilter(since=LONG_AGO, reason="nothing"),
    }
    wrong = []
    for name, wanted in filters.items():
        wrong += await too_much(
            explained,
            name,
            lambda pool, wanted=wanted: list_suppressions(pool, wanted, 51),  # type: ignore[misc]
        )
    assert wrong == []


@pytest.mark.usefixtures("explained", "new_tables")
async def test_short_pages_of_suppressions_lead_to_the_rest(pool: Pool) -> None:
    wanted = SuppressionFilter(project="two", reason="rare")
    pages, found = 0, list[str]()
    changed = (
        "UPDATE suppression SET reason = 'a RARE one' WHERE address IN ('150@example.com', '551@example.com')"
    )
    await pool.execute(changed)
    page = await list_suppressions(pool, wanted, 50)
    while True:
        pages, found = pages + 1, [*found, *(one.address for one in page.rows)]
        if page.end is None:
            break
        page = await list_suppressions(pool, wanted, 50, page.end)
    assert found in (["551@example.com"], ["150@example.com"])  # one of each project
    assert pages == 10_000 // BOUND + 1


@pytest.mark.usefixtures("explained", "new_tables")
async def test_a_count_says_if_there_are_more(pool: Pool) -> None:
    first_half_minute = LONG_AGO - dt.timedelta(minutes=30) + dt.timedelta(seconds=31)
    for wanted, counted in (
        (AdminFilter(), (BOUND, True)),
        (AdminFilter(external_id="user-1"), (0, True)),  # the newest of them wait or were not sent
        (AdminFilter(external_id="user-9"), (0, False)),
        (AdminFilter(before=first_half_minute), (30, False)),
        (AdminFilter(error="other"), (0, True)),
    ):
        assert await count_changeable(pool, wanted, dead=True) == counted, wanted
