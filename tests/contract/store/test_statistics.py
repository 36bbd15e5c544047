"""Statistics as they are read: totals, groups, filters, times and errors of providers."""

from __future__ import annotations

from typing import Any

import pytest

from server.domain.campaign import Channel
from server.domain.delivery import AttemptOutcome
from server.domain.statistics import KEPT, Kind, Window, bucket_end
from server.store.pool import Pool
from server.store.queue.triggers import PostgresQueue
from server.store.records.find import find_delivery
from server.store.statistics import read
from server.store.statistics.rollup import Rollup
from tests.kit.outcomes import DEAD, DELIVERED, RETRY, SUPPRESSED
from tests.kit.query_plans import Explained, reading
from tests.kit.rollup import ALL, all_counted, claimed, totals
from tests.kit.store import a_trigger, accept, ended, shares

OLD_TRIGGERS = """
    INSERT INTO trigger
        (id, project_id, campaign_id, channel, external_id, address, timezone, locale, user_data, event)
    SELECT overlay(gen_random_uuid()::text PLACING '00000000' FROM 1)::uuid, 1, 44, 'email', '', '', '', '',
        '', ''
    FROM generate_series(1, $1::int4)
"""
AGED = """
    INSERT INTO statistic
    VALUES ($1, now() - make_interval(secs => $2::int4), 1, 1, 'email', '', 'accepted', 0, 1)
"""


CAMPAIGNS = """
    INSERT INTO statistic
    SELECT 3600, date_trunc('hour', now()) - hour * interval '1 h', 1, campaign, 'email', 'sandbox',
        'delivered', bucket, 2001 - campaign
    FROM generate_series(0, 5) AS hour, generate_series(1, 2000) AS campaign, generate_series(1, 2) AS bucket
"""


async def test_new_triggers_count_before_they_are_rolled_up(pool: Pool, counting: Pool) -> None:
    await accept(pool, a_trigger())
    await Rollup(counting).count_all()
    assert await pool.fetchval("SELECT count(*) FROM statistic") == 0
    for _ in range(2):
        for step in (60, 3600):
            assert await totals(pool, step=step) == {Kind.ACCEPTED: 1}
        await all_counted(counting)


async def test_tests_do_not_count(pool: Pool, counting: Pool) -> None:
    queue, claim = await claimed(pool, test=True)
    await queue.finish([ended(claim, RETRY, retry_in=0)])
    await accept(pool, a_trigger(test=True))
    await pool.execute("UPDATE queue SET due_at = now()")
    for _ in range(2):
        assert await totals(pool) == {}
        assert await read.oldest_due(pool, ["email/sandbox"], ALL) == {}
        await all_counted(counting)
    assert await read.provider_results(pool) == {}


@pytest.mark.usefixtures("new_tables")
async def test_no_query_reads_all_triggers(url: str, pool: Pool, counting: Pool) -> None:
    """Nor does counting. Triggers that were counted long ago are not read again."""
    await pool.execute(OLD_TRIGGERS, 3000)
    for _ in range(3):
        queue, claim = await claimed(pool)
        await queue.finish([ended(claim, DELIVERED)])
    await pool.execute("ANALYZE")
    window = Window(await read.database_time(pool), 3600, 60)
    async with reading(url, enable_hashjoin="on") as opened:
        explained: Any = Explained(opened)
        found = await read.read_series(explained, ALL, window, group_by="channel", most=20)
        assert (found.groups[0].total.of[Kind.ACCEPTED], explained.most_of_all <= 3) == (3, True)
        await read.oldest_due(explained, ["email/sandbox"], ALL)
        assert explained.scanned <= {"statistic_position"}  # one row
    await all_counted(counting)
    assert await totals(pool) == {Kind.ACCEPTED: 3, Kind.DELIVERED: 3}


@pytest.mark.usefixtures("new_tables")
async def test_only_rows_of_the_largest_campaigns_are_joined(url: str, pool: Pool) -> None:
    """Comparing each of the largest with the rows of all took a second for 10,000 campaigns."""
    await pool.execute(CAMPAIGNS)
    await pool.execute("ANALYZE statistic")
    window = Window(await read.database_time(pool), 24 * 3600, 3600)
    async with reading(url, enable_hashjoin="on") as opened:
        explained: Any = Explained(opened)
        found = await read.read_series(explained, ALL, window, group_by="campaign", most=20)
    assert [one.campaign_id for one in found.groups] == list(range(1, 21))
    assert (found.number, found.groups[0].total.of[Kind.DELIVERED]) == (2000, 6 * 2 * 2000)
    assert [len(one.steps) for one in found.groups] == [6] * 20
    assert explained.scanned <= {"statistic_position"}
    assert explained.most <= 20 * 6 * 2  # of the second statement; an index leads to the rows


async def test_groups_and_filters(pool: Pool, counting: Pool) -> None:
    for changes in ({}, {"campaign_id": 45}, {"project_id": 2}):
        queue, claim = await claimed(pool, **changes)
        await queue.finish([ended(claim, DELIVERED)])
    await all_counted(counting)
    window = Window(await read.database_time(pool), 3600, 60)

    async def names(group_by: str, most: int = 20) -> list[tuple[str, str, str, int]]:
        found = await read.read_series(pool, ALL, window, group_by=group_by, most=most)
        assert found.number >= len(found.groups)
        return [(one.channel, one.provider, one.project, one.campaign_id) for one in found.groups]

    assert await names("channel") == [("email", "", "", 0)]
    assert sorted(await names("provider")) == [("", "", "", 0), ("", "sandbox", "", 0)]
    assert await names("project") == [("", "", "one", 0), ("", "", "two", 0)]
    assert await names("campaign") == [("", "", "one", 44), ("", "", "one", 45), ("", "", "two", 44)]
    assert len(await names("campaign", most=2)) == 2
    both = {Kind.ACCEPTED: 1, Kind.DELIVERED: 1}
    assert await totals(pool, read.StatisticsFilter(campaign_id=45)) == both
    assert await totals(pool, read.StatisticsFilter(visible=frozenset({2}))) == both
    assert await totals(pool, read.StatisticsFilter(project_id=1, visible=frozenset({2}))) == {}
    assert await totals(pool, read.StatisticsFilter(channel=Channel.PUSH)) == {}
    assert await totals(pool, read.StatisticsFilter(provider="sandbox")) == {Kind.DELIVERED: 3}


@pytest.mark.parametrize("seconds", [0.0002, 0.001, 0.0029, 0.25, 7.0, 90_000.0])
async def test_time_to_delivery_is_in_its_bucket(pool: Pool, counting: Pool, seconds: float) -> None:
    queue, claim = await claimed(pool)
    await queue.finish([ended(claim, DELIVERED)])
    await pool.execute("UPDATE trigger SET accepted_at = now() - make_interval(secs => 100000)")
    await pool.execute(
        "UPDATE attempt SET duration = 0, started_at = accepted_at + make_interval(secs => $1) FROM trigger",
        seconds,
    )
    await all_counted(counting)
    [bucket] = await pool.fetch("SELECT DISTINCT bucket FROM statistic WHERE kind = 'delivered'")
    number = bucket["bucket"]
    assert (bucket_end(number - 1) if number else 0) < seconds + 1e-6
    assert seconds <= bucket_end(number) + 1e-6


async def test_scheduled_triggers_count_from_their_time(pool: Pool, counting: Pool) -> None:
    queue, claim = await claimed(pool)
    await queue.finish([ended(claim, DELIVERED)])
    await pool.execute("UPDATE trigger SET accepted_at = now() - interval '9 days', send_at = now()")
    await all_counted(counting)
    await pool.execute("DELETE FROM statistic WHERE kind <> 'delivered'")
    assert await pool.fetchval("SELECT max(bucket) FROM statistic") < 40


async def test_old_counts_are_deleted(pool: Pool, counting: Pool) -> None:
    for resolution, kept in KEPT.items():
        for age in (kept - 100, kept + 100):
            await pool.execute(AGED, resolution, age)
    await Rollup(counting).delete_old()
    assert await pool.fetchval("SELECT count(*) FROM statistic") == 2


async def test_errors_of_providers_are_kept_for_an_hour(pool: Pool, counting: Pool) -> None:
    for outcome, error in ((RETRY, "busy"), (RETRY, "busy"), (DEAD, "no"), (DELIVERED, "")):
        queue, claim = await claimed(pool)
        retry_in = 60 if outcome is RETRY else None
        await queue.finish([ended(claim, outcome, retry_in=retry_in, error=error)])
    await all_counted(counting)
    found = (await read.provider_results(pool))["sandbox"]
    assert sorted((one.error, one.count) for one in found.errors) == [("busy", 2), ("no", 1)]
    assert found.last_success
    assert found.counts.of == {Kind.DELIVERED: 1, Kind.FAILED: 1, Kind.RETRIED: 2}
    await pool.execute("UPDATE provider_result SET last_at = last_at - interval '2 hours'")
    assert (await read.provider_results(pool))["sandbox"].errors == []
    await Rollup(counting).delete_old()
    assert [row["error"] for row in await pool.fetch("SELECT error FROM provider_result")] == [""]


@pytest.mark.parametrize(
    ("outcome", "retry_in", "kind"),
    [(DEAD, None, Kind.FAILED), (RETRY, 60, Kind.RETRIED), (SUPPRESSED, None, Kind.SUPPRESSED)],
)
async def test_what_did_not_reach_a_provider_says_nothing_about_it(
    pool: Pool, counting: Pool, outcome: AttemptOutcome, retry_in: float | None, kind: Kind
) -> None:
    """It is still counted, and its history has the provider."""
    queue, claim = await claimed(pool)
    unrendered = ended(claim, outcome, retry_in=retry_in, error="no template", reached_provider=False)
    await queue.finish([unrendered])
    await all_counted(counting)
    assert await read.provider_results(pool) == {}
    assert await totals(pool, read.StatisticsFilter(provider="sandbox")) == {}
    assert await totals(pool) == {Kind.ACCEPTED: 1, kind: 1}
    found = await find_delivery(pool, claim.id)
    assert found
    assert [(one.provider, one.reached_provider) for one in found.attempts] == [("sandbox", False)]


async def test_a_lost_attempt_counts_for_no_provider(pool: Pool, counting: Pool) -> None:
    """Its dispatcher ended; what the provider did is not known, until the outcome arrives late."""
    queue, claim = await claimed(pool)
    await pool.execute("UPDATE queue SET due_at = now()")
    await PostgresQueue(pool).claim(shares(sandbox=1), 60)
    await all_counted(counting)
    assert await read.provider_results(pool) == {}
    await queue.finish([ended(claim, DELIVERED)])
    await all_counted(counting)
    assert (await read.provider_results(pool))["sandbox"].counts.of == {Kind.DELIVERED: 1}


async def test_oldest_due_is_that_of_the_project(pool: Pool, counting: Pool) -> None:
    await accept(pool, a_trigger(project_id=2))
    await pool.execute("UPDATE queue SET due_at = now() - interval '1 hour'")
    await accept(pool, a_trigger())
    lanes = sorted(await PostgresQueue(pool).lanes())
    every = await read.oldest_due(pool, lanes, ALL)
    own = await read.oldest_due(pool, lanes, read.StatisticsFilter(project_id=1))
    assert every[Channel.EMAIL] >= 3600 > own[Channel.EMAIL]
    assert await read.oldest_due(pool, lanes, read.StatisticsFilter(visible=frozenset())) == {}
