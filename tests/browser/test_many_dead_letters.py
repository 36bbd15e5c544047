"""5,000 dead letters, found by their error and retried together."""

from __future__ import annotations

from playwright.async_api import Page, expect

from server.store.admin import campaigns, projects
from tests.kit.browser import check_page
from tests.kit.stack import Stack
from tests.kit.store import a_campaign
from tests.kit.until import TIMEOUT

NUMBER = 5000
CAMPAIGN = 7800
FILL = """
    WITH made AS (
        INSERT INTO trigger
            (id, project_id, campaign_id, channel, external_id, address, timezone, locale, user_data, event)
        SELECT uuidv7(), $1, $2, 'email', 'many-' || n, 'many-' || n || '@test.com', '', '', '', ''
        FROM generate_series(1, $3::int) AS n
        RETURNING id
    ), tried AS (
        INSERT INTO attempt
            (trigger_id, number, provider, outcome, started_at, duration, provider_message_id, error)
        SELECT id, 1, 'absent', 'dead', now(), 0.1, '', '550 mailbox full' FROM made
    )
    INSERT INTO dead_letter (trigger_id, error) SELECT id, '550 mailbox full' FROM made
"""
OTHER = """
    SELECT count(*) FROM dead_letter JOIN trigger ON trigger.id = trigger_id
    WHERE project_id = $1 AND campaign_id = $2
"""


async def test_thousands_of_dead_letters_are_retried(page: Page, stack: Stack) -> None:
    """The campaign's provider does not exist, so that they wait then, and nothing is sent."""
    async with stack.pool() as pool:
        project = await projects.ensure_project(pool, "many-dead")
        for number in (CAMPAIGN, CAMPAIGN + 1):
            made = a_campaign(number, project_id=project, providers=("absent",))
            await campaigns.apply_campaigns(pool, [made])
        await pool.execute(FILL, project, CAMPAIGN, NUMBER)
        await pool.execute(FILL, project, CAMPAIGN + 1, 3)
        await stack.until_in_force()
        query = f"project=many-dead&campaign_id={CAMPAIGN}&error=mailbox&state=dead"
        await page.goto(f"{stack.url}/portal/deliveries?{query}")
        await page.get_by_role("link", name="Retry all dead letters that match").click()
        await expect(page.get_by_text("5,000 dead letters")).to_be_visible()
        await check_page(page)
        await page.get_by_role("button", name="Retry 5,000").click()
        await expect(page.get_by_text("5,000 retried.")).to_be_visible(timeout=TIMEOUT * 1000)
        await check_page(page)
        assert await pool.fetchval(OTHER, project, CAMPAIGN) == 0
        assert await pool.fetchval(OTHER, project, CAMPAIGN + 1) == 3
        waiting = "SELECT count(*) FROM queue JOIN trigger ON trigger.id = trigger_id WHERE campaign_id = $1"
        assert await pool.fetchval(waiting, CAMPAIGN) == NUMBER
