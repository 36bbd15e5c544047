"""Keys and deliveries in the portal: from a new key to a message that was delivered, and back to 401."""

from __future__ import annotations

import re
import uuid

import httpx
import pytest
from playwright.async_api import Page, expect

from server.store.admin import campaigns, projects
from tests.browser.conftest import create_key, sign_in
from tests.kit.browser import check_page, screenshot
from tests.kit.stack import EXAMPLE, Stack, client
from tests.kit.store import a_campaign
from tests.kit.until import TIMEOUT, until

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"


async def trigger(stack: Stack, secret: str, campaign: int = 44, user: str = "EXTERNAL_ID") -> httpx.Response:
    body = {**EXAMPLE, "user": {**EXAMPLE["user"], "external_id": user}}
    async with client(stack) as http:
        path = f"/api/client/campaigns/{campaign}/trigger"
        return await http.post(path, json=body, headers=stack.headers(secret))


async def new_key(page: Page, stack: Stack, name: str) -> str:
    """Create a key of the project demo, and return its secret."""
    await page.goto(f"{stack.url}/portal/keys/new?project=demo")
    await check_page(page)
    await page.get_by_label("Name").fill(name)
    await page.get_by_role("button", name="Create key").click()
    await expect(page.get_by_role("heading", name="New key")).to_be_visible()
    secret = (await page.locator("code").filter(has_text=re.compile("^sk_")).inner_text()).strip()
    assert secret not in page.url
    return secret


async def test_key_is_made_used_seen_and_revoked(page: Page, stack: Stack) -> None:
    name = f"shop {uuid.uuid4().hex[:6]}"
    secret = await new_key(page, stack, name)
    await check_page(page)

    async def accepted() -> bool:
        return (await trigger(stack, secret)).status_code == 204

    await until(accepted, "the key works")
    await page.goto(f"{stack.url}/portal/deliveries")
    await check_page(page)
    trigger_id = (await trigger(stack, secret)).headers["x-trigger-id"]
    row = page.locator(f"#delivery-{trigger_id}")
    await expect(row).to_contain_text("delivered", timeout=TIMEOUT * 1000)
    await row.get_by_role("link").first.click()
    await expect(page.get_by_text("attempt 1:")).to_be_visible()
    await expect(page.get_by_role("link", name=name)).to_be_visible()
    await check_page(page)
    await screenshot(page, "portal-delivery")
    await page.get_by_role("link", name=name).click()
    await check_page(page)
    assert secret not in await page.content()
    await page.get_by_role("link", name="Revoke").click()
    await check_page(page)
    await page.get_by_role("button", name="Revoke this key").click()
    await expect(page.get_by_role("status")).to_have_text(f"The key {name} was revoked.")
    await check_page(page)
    await screenshot(page, "portal-keys")

    async def rejected() -> bool:
        return (await trigger(stack, secret)).status_code == 401

    await until(rejected, "the key is rejected")


async def test_key_is_rotated_with_an_overlap(page: Page, stack: Stack) -> None:
    """Its name is shown as text, whatever it contains."""
    name = f"till {SCRIPT} {uuid.uuid4().hex[:6]}"
    old = await new_key(page, stack, name)
    await page.goto(f"{stack.url}/portal/keys?project=demo")
    await page.get_by_role("link", name=name).click()
    await page.get_by_role("link", name="Rotate").click()
    await check_page(page)
    await page.get_by_label("How long the old key still works").select_option("1")
    await page.get_by_role("button", name="Rotate key").click()
    new = (await page.locator("code").filter(has_text=re.compile("^sk_")).inner_text()).strip()

    async def both_work() -> bool:
        return [(await trigger(stack, one)).status_code for one in (old, new)] == [204, 204]

    await until(both_work, "both keys work")


async def test_test_key_sends_nothing(page: Page, stack: Stack) -> None:
    """Its page has a call for a shell, and its deliveries are shown as tests."""
    await page.goto(f"{stack.url}/portal/keys/new?project=demo")
    await page.get_by_label("Name").fill(f"staging {uuid.uuid4().hex[:6]}")
    await page.get_by_label("Kind").select_option("test")
    await page.get_by_role("checkbox", name="Read deliveries").check()
    await page.get_by_role("button", name="Create key").click()
    secret = (await page.locator("code").filter(has_text=re.compile("^sk_test_")).inner_text()).strip()
    await expect(page.locator("pre")).to_contain_text(f"export CLARION_API_KEY={secret}\ncurl -i")
    await check_page(page)

    async def accepted() -> bool:
        return (await trigger(stack, secret)).status_code == 204

    await until(accepted, "the key works")
    trigger_id = (await trigger(stack, secret)).headers["x-trigger-id"]
    await page.goto(f"{stack.url}/portal/deliveries/{trigger_id}")
    await expect(page.get_by_text("Sent with a test key")).to_be_visible()
    await page.goto(f"{stack.url}/portal/keys?kind=test")
    await expect(page.get_by_role("cell", name="sk_test_…")).not_to_have_count(0)
    await check_page(page)
    assert secret not in await page.content()


async def test_wrong_values_stay_in_the_form(page: Page, stack: Stack) -> None:
    await page.goto(f"{stack.url}/portal/keys/new?project=demo")
    await page.get_by_label("Name").fill("till")
    await page.get_by_label("Only these campaigns").fill("44, x")
    await page.get_by_label("Burst").fill("many")
    await page.get_by_role("button", name="Create key").click()
    await expect(page.get_by_label("Only these campaigns")).to_have_attribute("aria-invalid", "true")
    await expect(page.get_by_label("Burst")).to_have_value("many")
    await expect(page.get_by_label("Name")).to_have_value("till")
    await check_page(page)


async def test_dead_letters_are_found_by_error_and_retried(page: Page, stack: Stack) -> None:
    """Texts of providers and callers are shown as text, whatever they contain."""
    async with stack.pool() as pool:
        project = await projects.ensure_project(pool, "demo")
        await campaigns.apply_campaigns(pool, [a_campaign(7700, project_id=project, providers=("absent",))])
        await stack.until_in_force()
        ids = []
        for number in range(3):
            answer = await trigger(stack, stack.key, 7700, f"{SCRIPT}{number}")
            assert answer.status_code == 204, answer.text
            ids.append(uuid.UUID(answer.headers["x-trigger-id"]))
        await pool.execute("DELETE FROM queue WHERE trigger_id = ANY($1)", ids)
        await pool.execute(
            "INSERT INTO dead_letter (trigger_id, error) SELECT unnest($1::uuid[]), $2", ids, f"550 {SCRIPT}"
        )
    await page.goto(f"{stack.url}/portal/dead-letters")
    await expect(page.get_by_role("link", name="# <script>")).to_have_count(1)
    await check_page(page)
    await screenshot(page, "portal-dead-letters")
    await page.get_by_role("link", name="List or retry dead letters of campaign 7700").click()
    await expect(page.get_by_role("row")).to_have_count(4)
    await check_page(page)
    await page.get_by_role("link", name="Retry all dead letters that match").click()
    await expect(page.get_by_text("3 dead letters")).to_be_visible()
    await check_page(page)
    await page.get_by_role("button", name="Retry 3").click()
    await expect(page.get_by_text("3 retried.")).to_be_visible()
    await check_page(page)
    await page.get_by_role("link", name="All bulk operations").click()
    await expect(page.get_by_role("row").nth(1)).to_contain_text("error_group: # <script>")
    await check_page(page)
    await page.goto(f"{stack.url}/portal/deliveries?project=demo&campaign_id=7700&state=pending")
    await expect(page.get_by_role("row")).to_have_count(4)
    await page.get_by_role("row").nth(1).get_by_role("link").first.click()
    await expect(page.get_by_text("no running dispatcher has the provider absent")).to_be_visible()
    await check_page(page)
    await page.get_by_role("link", name="Cancel").click()
    await page.get_by_role("button", name="Cancel it").click()
    await expect(page.get_by_role("status")).to_have_text("The delivery was cancelled.")


@pytest.mark.parametrize(
    "path", ["/keys", "/keys?key_state=revoked", "/deliveries?state=dead&error=nothing", "/dead-letters"]
)
async def test_pages_are_accessible_to_a_viewer(stranger: Page, stack: Stack, path: str) -> None:
    await sign_in(stranger, stack, await create_key(stack, "viewer"))
    await stranger.goto(f"{stack.url}/portal{path}")
    await check_page(stranger)
    await expect(stranger.get_by_role("link", name="New key")).to_have_count(0)
    await expect(stranger.get_by_role("link", name="Retry all")).to_have_count(0)
