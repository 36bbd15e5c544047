"""The audit log in the portal."""

from __future__ import annotations

import csv
import re
import uuid
from pathlib import Path

from playwright.async_api import Browser, Page, StorageState, expect

from tests.browser.conftest import create_key, sign_in
from tests.kit.browser import check_page, new_page, screenshot
from tests.kit.stack import Stack

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"


async def test_changes_are_found_and_exported(page: Page, stack: Stack, tmp_path: Path) -> None:
    name = f"audited-{uuid.uuid4().hex[:8]}"
    await page.goto(f"{stack.url}/portal/projects/new")
    await page.get_by_label("Name").fill(name)
    await page.get_by_role("button", name="Create project").click()
    await page.get_by_label("Burst").fill("7")
    await page.get_by_role("button", name="Save").click()
    await page.goto(f"{stack.url}/portal/suppressions/add")
    await page.get_by_label("Project", exact=True).last.select_option(name)
    await page.get_by_label("Addresses").fill("one@test.com")
    await page.get_by_label("Reason").fill(SCRIPT)
    await page.get_by_role("button", name="Suppress").click()
    await expect(page.get_by_role("status")).to_contain_text("Suppressed 1 more")
    await page.goto(f"{stack.url}/portal/audit?project={name}")
    await expect(page.get_by_role("row")).to_have_count(4)
    await expect(page.get_by_text(f"Reason: {SCRIPT}")).to_be_visible()
    await expect(page.get_by_role("listitem").filter(has_text="Burst: none")).to_contain_text("7")
    await check_page(page)
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Export CSV").click()
    exported = tmp_path / "audit.csv"
    await (await download.value).save_as(exported)
    rows = list(csv.DictReader(exported.read_text().splitlines()))
    assert [row["action"] for row in rows] == ["suppressions.add", "project.update", "project.create"]
    await page.get_by_label("Changed").fill(f"project/{name}")
    await page.get_by_role("button", name="Filter").click()
    await expect(page.get_by_role("row")).to_have_count(3)
    await screenshot(page, "portal-audit")
    await page.goto(f"{stack.url}/portal/audit?since=soon")
    await expect(page.get_by_role("alert")).to_contain_text("Enter a date")


async def test_only_admins_read_the_audit_log(stranger: Page, stack: Stack) -> None:
    await sign_in(stranger, stack, await create_key(stack, "author"))
    await expect(stranger.get_by_role("link", name="Audit log")).to_have_count(0)
    for path in ("/audit", "/export/audit.csv"):
        answer = await stranger.goto(f"{stack.url}/portal{path}")
        assert answer
        assert answer.status == 403
    await check_page(stranger)


async def test_times_are_entered_in_the_zone_of_the_viewer(
    browser: Browser, stack: Stack, signed_in: StorageState
) -> None:
    context = await browser.new_context(storage_state=signed_in, timezone_id="America/Chicago")
    page = await new_page(context)
    await page.goto(f"{stack.url}/portal/audit?since=2026-01-31T08:00")
    field = page.get_by_label("Since (America/Chicago)")
    await expect(field).to_have_value("2026-01-31T02:00")
    await check_page(page)
    await field.fill("2026-01-31T20:30")
    await page.get_by_role("button", name="Filter").click()
    await page.wait_for_url(re.compile("since=2026-02-01T02%3A30"))
    await expect(field).to_have_value("2026-01-31T20:30")
    await context.close()
