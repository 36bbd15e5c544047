"""A shorter retention in the settings applies a day later, and can be undone until then."""

from __future__ import annotations

import datetime as dt

from structlog.testing import capture_logs

from server.store.pool import Pool
from server.store.retention_days import find_shorter
from tests.contract.store.test_retention import content, days, id_of, retention, sent


async def days_kept(pool: Pool, data: str = "content") -> int:
    found: int = await pool.fetchval("SELECT days FROM retention WHERE data = $1", data)
    return found


async def test_a_shorter_setting_takes_effect_a_day_later(pool: Pool) -> None:
    """By then, its triggers have been passed by the removal of a project that always had this time."""
    await pool.execute("""UPDATE project SET content_days = '{"email": 7}' WHERE id = 2""")
    one = id_of(days(8))
    await sent(pool, one)
    await sent(pool, id_of(days(7.5)), project_id=2)
    await retention(pool).remove_content()
    shorter = retention(pool, content=7)
    with capture_logs() as logs:
        await shorter.report()
        await shorter.remove_content()
    assert "code" in await content(pool, one)
    [found] = await find_shorter(pool)
    assert (found.data, found.days, found.next_days) == ("content", 30, 7)
    left = await pool.fetchval("SELECT next_at - now() FROM retention WHERE data = 'content'")
    assert days(0.9) < left <= days(1)
    assert [line["event"] for line in logs] == [f"{found}; {found.action}"], "logged once"
    await pool.execute("UPDATE retention SET next_at = now() WHERE next_at IS NOT NULL")
    await shorter.remove_content()
    assert await content(pool, one) == ""
    assert await find_shorter(pool) == []


async def test_the_setting_before_cancels_a_shorter_one(pool: Pool) -> None:
    one = id_of(days(8))
    await sent(pool, one)
    for setting in (30, 7, 30):
        await retention(pool, content=setting).report()
    assert await find_shorter(pool) == []
    await retention(pool, content=7).report()
    [found] = await find_shorter(pool)
    assert found.next_at > dt.datetime.now(dt.UTC) + days(0.9), "a day from the second time"
    await retention(pool, content=60).report()
    assert (await days_kept(pool), await find_shorter(pool)) == (60, [])
    await retention(pool, content=60).remove_content()
    assert "code" in await content(pool, one)


async def test_the_longest_of_several_settings_applies(pool: Pool) -> None:
    for setting in (400, 30, 100, 30):
        await retention(pool, record=setting).report()
    [found] = await find_shorter(pool)
    assert (found.days, found.next_days) == (400, 100)
    await pool.execute("UPDATE retention SET next_at = now() WHERE next_at IS NOT NULL")
    await retention(pool, record=30).report()
    [found] = await find_shorter(pool)
    assert (found.days, found.next_days) == (100, 30)
    await retention(pool, record=100).report()
    assert (await days_kept(pool, "record"), await find_shorter(pool)) == (100, [])
