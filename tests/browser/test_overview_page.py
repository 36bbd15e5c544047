"""The overview and the page of providers."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import create_key, sign_in
from tests.kit.browser import check_page, new_page, screenshot
from tests.kit.stack import Stack
from tests.kit.until import until

BROKEN = (
    '{"backup": {"hold": "breaker", "wait": 5, "error": "<script>alert(1)</script>"}, "smtp": {"rate": 5}}'
)
DISPATCHER = """
    INSERT INTO server_process (id, seen_at, role, providers)
    VALUES ('00000000-0000-0000-0000-000000000001', now() + interval '1 hour', 'dispatcher', $1::text::json)
"""
NO_DISPATCHER = "DELETE FROM server_process WHERE id = '00000000-0000-0000-0000-000000000001'"
ERROR = """
    INSERT INTO provider_result
    VALUES ('smtp', $1, now() - interval '20 min', now(), 7, '00000000-0000-0000-0000-000000000001')
"""
COUNTED = """
    INSERT INTO statistic
    SELECT 60, date_bin('1 minute', now(), 'epoch') - n * interval '1 minute', id, 0, 'email', 'smtp', kind,
        CASE kind WHEN 'delivered' THEN 12 ELSE 0 END,
        CASE kind WHEN 'failed' THEN n % 7 WHEN 'accepted' THEN 120 + n * 37 % 41 ELSE 110 + n * 31 % 47 END
    FROM project, generate_series(1, 58) AS n, unnest(ARRAY['accepted', 'delivered', 'failed']) AS kind
    WHERE name = 'demo'
"""


@asynccontextmanager
async def made_up(stack: Stack) -> AsyncIterator[None]:
    """Add an hour of numbers, and a dispatcher whose provider fails, during the block."""
    async with stack.pool() as pool:
        await pool.execute(COUNTED)
        await pool.execute(DISPATCHER, BROKEN)
        await pool.execute(ERROR, "451 4.3.2 <i>try</i> later")
        try:
            yield
        finally:
            await pool.execute(NO_DISPATCHER)
            await pool.execute("DELETE FROM provider_result WHERE provider = 'smtp'")
            await pool.execute("DELETE FROM statistic WHERE provider = 'smtp'")


async def test_overview_shows_what_happens(page: Page, stack: Stack) -> None:
    async with made_up(stack):
        await page.goto(f"{stack.url}/portal/")
        await check_page(page)
        plot = page.get_by_role("img", name="Messages by email each minute")
        await expect(plot.locator("polyline")).to_have_count(3)
        await page.locator("summary", has_text="plot of email").click()
        numbers = page.get_by_role("region", name="Messages by email each minute")
        assert await numbers.locator("tbody tr").count() >= 58
        await check_page(page)
        await page.locator("summary", has_text="plot of email").click()
        await screenshot(page, "portal-overview")
        await page.get_by_role("link", name="See why backup fails").click()
        await expect(page.locator("h1")).to_have_text("Providers")
        await expect(page.locator("main")).to_contain_text("<script>alert(1)</script>")
        row = page.locator("tr", has=page.locator("th", has_text="smtp"))
        # Of all dispatchers: others may have run until a moment ago.
        await expect(row).to_contain_text(re.compile(r"\d of \d"))
        await expect(page.locator("main")).to_contain_text("451 4.3.2 <i>try</i> later")
        await check_page(page)
    for period in ("24 hours", "7 days"):
        await page.goto(f"{stack.url}/portal/")
        await page.get_by_role("navigation", name="Period").get_by_role("link", name=period).click()
        current = page.get_by_role("navigation", name="Period").locator("[aria-current]")
        await expect(current).to_have_text(period)
        await check_page(page)
    await page.goto(f"{stack.url}/portal/?period=<b>")
    await expect(page.get_by_role("navigation", name="Period").locator("[aria-current]")).to_have_text(
        "1 hour"
    )


async def test_overview_counts_a_trigger(page: Page, stack: Stack) -> None:
    await page.goto(f"{stack.url}/portal/api?project=demo&campaign_id=44")
    await page.get_by_role("button", name="Send trigger").click()
    await expect(page.get_by_role("status")).to_contain_text("The trigger was accepted")

    async def is_sent() -> bool:
        await page.goto(f"{stack.url}/portal/?project=demo")
        email = page.locator("section", has=page.get_by_role("heading", name="Email"))
        return await email.locator("dt", has_text="are sent within").count() == 2

    await until(is_sent, "the overview shows the delivery")
    await check_page(page)


async def test_viewer_of_a_project_sees_no_providers(browser: Browser, stack: Stack) -> None:
    context = await browser.new_context()
    page = await new_page(context)
    async with made_up(stack):
        await sign_in(page, stack, await create_key(stack, "viewer", "demo"))
        await expect(page.get_by_role("heading", name="Email")).to_be_visible()
        assert "backup" not in await page.content()
        await expect(page.get_by_role("link", name="Providers")).to_have_count(0)
        await page.goto(f"{stack.url}/portal/providers")
        await expect(page.locator("main")).to_contain_text("You cannot see providers")
        await check_page(page)
    await context.close()
