"""Pages of a project's triggers: complete, stable under writes, and read from an index."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from server.domain.delivery import Delivery, DeliveryFilter, DeliveryState
from server.errors import TimedOut
from server.store.admin import campaigns
from server.store.pool import Pool
from server.store.records.find import find_delivery
from server.store.records.pages import list_triggers
from tests.kit.query_plans import Explained, reading
from tests.kit.store import a_campaign, a_trigger, accept

from .test_lists import in_every_state

DELIVERED, DEAD = DeliveryState.DELIVERED, DeliveryState.DEAD
BEGAN = dt.datetime(2025, 11, 24, 16, 0, tzinfo=dt.UTC)
# One trigger a second from BEGAN on: project 1 has every hundredth, by 20 campaigns, and 3 of a rare one.
FILL = """
    INSERT INTO campaign (project_id, id, name, channel, provider, state, sender, templates, retry, revision)
        SELECT p, c, '', 'email', '', 'active', '', '{}', '{}', 1
        FROM generate_series(1, 2) AS p, generate_series(1, 21) AS c;
    INSERT INTO trigger (id, project_id, campaign_id, channel, external_id, address, timezone, locale,
            user_data, event, accepted_at)
        SELECT (lpad(to_hex(1764000000000 + n * 1000), 12, '0') || '7000' || '8000' || lpad(n::text, 12, '0'))
                ::uuid, CASE WHEN n % 100 = 7 THEN 1 ELSE 2 END,
            CASE WHEN n IN (50, 107, 207, 307) THEN 21 ELSE 1 + (n / 100) % 20 END, 'email',
            'user-' || n % 1000, '', '', '', '', '', to_timestamp(1764000000 + n)
        FROM generate_series(1::bigint, 50000) AS n;
    INSERT INTO attempt (trigger_id, number, provider, outcome, started_at, duration, provider_message_id,
            error)
        SELECT id, 1, '', CASE place % 20 WHEN 3 THEN 'dead' WHEN 5 THEN 'suppressed' ELSE 'delivered' END,
            now(), 0, '', ''
        FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM trigger) AS t
        WHERE place % 20 <> 1 AND place < 49000;
    INSERT INTO dead_letter (trigger_id, error) SELECT trigger_id, '' FROM attempt WHERE outcome = 'dead';
    INSERT INTO cancellation (trigger_id)
        SELECT id FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM trigger) AS t
        WHERE place % 20 = 1 AND place < 49000;
    INSERT INTO queue (trigger_id, lane, claimed_by, due_at, attempt)
        SELECT id, 'email/a', CASE place % 3 WHEN 0 THEN gen_random_uuid() END, now() + interval '1 h',
            CASE place % 3 WHEN 1 THEN 0 ELSE 1 END
        FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM trigger) AS t WHERE place >= 49000;
"""


@pytest.fixture
async def lists(url: str, pool: Pool) -> AsyncIterator[Pool]:
    async with reading(url) as opened:
        await campaigns.apply_campaigns(pool, [a_campaign(44), a_campaign(45), a_campaign(46, project_id=2)])
        yield opened


async def all_pages(lists: Pool, listed: DeliveryFilter, size: int, *, between: Any = None) -> list[Delivery]:
    """Read page after page, as a caller with tokens does."""
    found: list[Delivery] = []
    after: uuid.UUID | None = None
    while page := await list_triggers(lists, 1, listed, after=after, limit=size):
        found += page
        after = page[-1].trigger_id
        if between:
            await between(page)
    return found


def ids(found: Sequence[Delivery]) -> list[uuid.UUID]:
    return [one.trigger_id for one in found]


@pytest.mark.parametrize("state", [*DeliveryState, None])
@pytest.mark.parametrize("size", [1, 100])
async def test_each_state_lists_what_is_in_it(
    pool: Pool, lists: Pool, state: DeliveryState | None, size: int
) -> None:
    triggers = await in_every_state(pool)
    await accept(pool, a_trigger(project_id=2, campaign_id=46))
    found = await all_pages(lists, DeliveryFilter(state=state), size)
    expected = [triggers[state].id] if state else sorted((one.id for one in triggers.values()), reverse=True)
    assert ids(found) == expected
    assert found == [await find_delivery(pool, one) for one in expected]


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (DeliveryFilter(campaign_id=45), "b"),
        (DeliveryFilter(campaign_id=44), "ca"),
        (DeliveryFilter(campaign_id=46), ""),
        (DeliveryFilter(external_id="a"), "a"),
        (DeliveryFilter(external_id="a", campaign_id=45), ""),
        (DeliveryFilter(external_id="d"), ""),
        (DeliveryFilter(), "cba"),
        (DeliveryFilter(state=DeliveryState.PENDING), "cba"),
        (DeliveryFilter(state=DeliveryState.PENDING, external_id="c"), "c"),
        (DeliveryFilter(state=DELIVERED), ""),
    ],
)
async def test_all_that_is_asked_for_applies(
    pool: Pool, lists: Pool, listed: DeliveryFilter, expected: str
) -> None:
    await accept(
        pool,
        a_trigger(external_id="a"),
        a_trigger(external_id="b", campaign_id=45),
        a_trigger(external_id="c"),
        a_trigger(external_id="d", project_id=2, campaign_id=46),
    )
    found = await list_triggers(lists, 1, listed, after=None, limit=50)
    assert "".join(one.external_id for one in found) == expected


@pytest.mark.parametrize("state", [None, DeliveryState.PENDING])
async def test_times_are_those_of_acceptance(pool: Pool, lists: Pool, state: DeliveryState | None) -> None:
    await accept(pool, a_trigger())
    [taken] = await list_triggers(lists, 1, DeliveryFilter(state=state), after=None, limit=1)
    at, later = taken.accepted_at, taken.accepted_at + dt.timedelta(microseconds=1)

    async def found(since: dt.datetime | None, before: dt.datetime | None) -> int:
        listed = DeliveryFilter(state=state, since=since, before=before)
        return len(await list_triggers(lists, 1, listed, after=None, limit=9))

    assert [await found(at, None), await found(later, None)] == [1, 0]
    assert [await found(None, later), await found(None, at)] == [1, 0]
    assert await found(dt.datetime(1, 1, 1, tzinfo=dt.UTC), dt.datetime(9999, 12, 31, tzinfo=dt.UTC)) == 1


async def test_pages_show_each_trigger_once_while_others_come_in(pool: Pool, lists: Pool) -> None:
    first = [a_trigger() for _ in range(9)]
    await accept(pool, *first)

    async def more(page: Sequence[Delivery]) -> None:
        await accept(pool, a_trigger())

    found = await all_pages(lists, DeliveryFilter(), 2, between=more)
    assert ids(found) == [one.id for one in reversed(first)]


async def test_pages_skip_nothing_when_rows_leave_the_state(pool: Pool, lists: Pool) -> None:
    first = [a_trigger() for _ in range(9)]
    await accept(pool, *first)

    async def taken(page: Sequence[Delivery]) -> None:
        await pool.execute("DELETE FROM queue WHERE trigger_id = ANY($1)", ids(page))

    found = await all_pages(lists, DeliveryFilter(state=DeliveryState.PENDING), 2, between=taken)
    assert ids(found) == [one.id for one in reversed(first)]


async def test_a_list_that_takes_too_long_is_refused_with_what_to_do(url: str, pool: Pool) -> None:
    async with (
        reading(url, statement_timeout="500ms") as lists,
        pool.acquire() as holder,
        holder.transaction(),
    ):
        await holder.execute("LOCK TABLE trigger IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TimedOut, match="narrow it with"):
            await list_triggers(lists, 1, DeliveryFilter(), after=None, limit=50)


BY = [
    DeliveryFilter(),
    DeliveryFilter(campaign_id=3),
    DeliveryFilter(campaign_id=21),
    DeliveryFilter(external_id="user-7"),
]
MIDDLE = BEGAN + dt.timedelta(hours=3)
# What is being sent or tried again is found as what is pending is.
STATES = [None, *(set(DeliveryState) - {DeliveryState.SENDING, DeliveryState.RETRYING})]
QUERIES = [replace(by, state=state) for by in BY for state in STATES]
MANY = QUERIES[: 2 * len(STATES)]
QUERIES += [replace(one, since=MIDDLE) for one in MANY] + [replace(one, before=MIDDLE) for one in MANY]


@pytest.mark.usefixtures("new_tables")
@pytest.mark.parametrize("analyzed", [False, pytest.param(True, marks=pytest.mark.long)])
async def test_a_page_is_read_from_an_index_whatever_is_asked_for(
    url: str, pool: Pool, *, analyzed: bool
) -> None:
    await pool.execute(FILL)
    if analyzed:
        await pool.execute("ANALYZE trigger, queue, attempt, dead_letter, cancellation, campaign")
    async with reading(url, statement_timeout="60s") as lists:
        explained: Any = Explained(lists)
        for project in (1, 2):
            await check_plans(explained, project)


def at_most(project: int, listed: DeliveryFilter) -> int:
    """Return how many rows may be looked at for a page of 51."""
    if listed.campaign_id or listed.external_id:
        return 2500 if listed.state else 200  # all that the campaign or the user has, if few are in the state
    if listed.state in {None, DELIVERED}:  # a page of each of 21 campaigns, the newest 50 of which wait
        return 2200 if listed.state else 1100
    return 200 if project == 2 else 510  # the queue has three states; project 1 has 500 triggers in all


@pytest.mark.usefixtures("new_tables")
@pytest.mark.parametrize(("waiting", "of_project"), [(2, 40), (40, 2)])
async def test_what_is_fewer_is_looked_through(
    url: str, pool: Pool, waiting: int, of_project: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Either what waits, whosever it is, or what the project has."""
    monkeypatch.setattr("server.store.records.pages._FEW", 1)
    await campaigns.apply_campaigns(pool, [a_campaign(44), a_campaign(46, project_id=2)])
    await accept(pool, *(a_trigger() for _ in range(of_project)))
    await pool.execute("DELETE FROM queue")
    await accept(pool, *(a_trigger(project_id=2, campaign_id=46) for _ in range(waiting)))
    an_hour_ago = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    async with reading(url) as lists:
        explained: Any = Explained(lists)
        found = await list_triggers(
            explained, 1, DeliveryFilter(state=DeliveryState.PENDING, since=an_hour_ago), after=None, limit=50
        )
    assert (found, explained.most) == ([], 2)


async def check_plans(explained: Any, project: int) -> None:
    for listed in QUERIES:
        explained.most_of_lists = 0
        await list_triggers(explained, project, listed, after=None, limit=51)
        assert explained.most_of_lists <= at_most(project, listed), (project, listed, explained.most_of_lists)
        assert "Seq Scan" not in explained.kinds, (project, listed)
