"""Campaigns in the portal: create, edit, preview, roll back, states, conflicts."""

from __future__ import annotations

import json
import uuid

from playwright.async_api import Page, expect

from clarion.admin.v1 import campaign_pb2 as pb
from server.admin.client import LocalAdmin
from server.config import load
from server.wiring.operators import build_backend
from tests.browser.conftest import create_key, sign_in
from tests.kit.browser import check_page, new_page, screenshot
from tests.kit.stack import EXAMPLE, Stack, client
from tests.kit.until import until


async def create(page: Page, stack: Stack, *, paused: bool = False) -> str:
    """Create an email campaign of the project demo; return its number."""
    number = str(uuid.uuid4().int % 10**9 + 1000)
    await page.goto(f"{stack.url}/portal/campaigns/new?project=demo")
    await check_page(page)
    await page.get_by_label("ID", exact=True).fill(number)
    await page.get_by_label("Name").fill("Welcome")
    await page.get_by_label("Provider 1").select_option("sandbox")
    await page.get_by_label("Sender").fill("Shop <shop@example.com>")
    await page.get_by_label("Subject, for email").fill("Hello")
    await page.get_by_label("Text", exact=True).fill("Hello {{ event.random_field }}")
    await page.get_by_label("Create it paused").set_checked(paused)
    await page.get_by_role("button", name="Create campaign").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(f"Campaign {number}: Welcome")
    return number


async def test_campaign_is_edited_previewed_and_rolled_back(page: Page, stack: Stack) -> None:
    number = await create(page, stack)
    await check_page(page)
    await page.get_by_role("link", name="Edit").click()
    await check_page(page)
    text = page.get_by_label("Plain text")
    await text.fill("Broken {% if %}")
    await page.get_by_role("button", name="Publish").click()
    error = page.locator('[id="error-default.text"]')
    await expect(error).to_contain_text("default text, line 1, column 11")
    await expect(text).to_have_attribute("aria-invalid", "true")
    await page.get_by_role("alert").get_by_role("link", name="default.text").click()
    await expect(text).to_be_focused()
    await expect(text).to_have_value("Broken {% if %}")
    await check_page(page)
    await text.fill("Changed {{ event.random_field }} <script>alert(1)</script>")
    await page.get_by_role("button", name="Preview").click()
    await expect(page.get_by_text("Changed value <script>")).not_to_have_count(0)
    await check_page(page)
    await screenshot(page, "portal-campaign-edit")
    await page.get_by_role("button", name="Publish").click()
    await expect(page.get_by_role("status")).to_have_text("Version 2 takes effect within a second.")
    assert "Changed value" in await delivered(stack, number)
    await sees_the_version(page, stack, number)
    await page.get_by_role("link", name="Roll back to version 1").click()
    await check_page(page)
    await page.get_by_role("button", name="Roll back").click()
    await expect(page.get_by_role("status")).to_have_text("Version 3 has the content of version 1.")
    assert "Hello value" in await delivered(stack, number)
    await page.goto(f"{stack.url}/portal/campaigns?name=welcome")
    await check_page(page)


async def sees_the_version(page: Page, stack: Stack, number: str) -> None:
    """See which version the last delivery used, and what it changed; return to the campaign."""
    await page.goto(f"{stack.url}/portal/deliveries?campaign_id={number}")
    await page.get_by_role("table").get_by_role("link").first.click()
    row = page.get_by_role("row", name="attempt 1")
    await row.get_by_role("link", name="2", exact=True).click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(f"Version 2 of campaign {number}")
    await check_page(page)
    await page.goto(f"{stack.url}/portal/campaigns/demo/{number}")
    await page.get_by_role("link", name="What changed in version 2").click()
    await expect(page.get_by_text("Removed: - Hello")).to_have_count(1)
    await expect(page.get_by_text("Added: + Changed")).to_have_count(1)
    await check_page(page)
    await page.goto(f"{stack.url}/portal/campaigns/demo/{number}")


async def delivered(stack: Stack, number: str) -> str:
    """Trigger a campaign once all processes know its last version; return the email."""
    await stack.until_in_force()
    async with client(stack) as http:
        path = f"/api/client/campaigns/{number}/trigger"
        answer = await http.post(path, json=EXAMPLE, headers=stack.headers())
        assert answer.status_code == 204, answer.text
    return (await stack.delivered("email", answer.headers["x-trigger-id"])).read_text()


async def test_campaign_is_created_paused(page: Page, stack: Stack) -> None:
    number = await create(page, stack, paused=True)
    await expect(page.get_by_role("status")).to_have_text(
        f"Campaign {number} rejects triggers until you resume it."
    )
    await page.get_by_role("link", name="Resume").click()
    await page.get_by_role("button", name="Resume it").click()
    await expect(page.get_by_role("status")).to_have_text(f"Campaign {number} was resumed.")
    assert "Hello value" in await delivered(stack, number)


async def test_campaign_is_paused_and_archived(page: Page, stack: Stack) -> None:
    number = await create(page, stack)
    await page.get_by_role("link", name="Pause").click()
    await check_page(page)
    await page.get_by_role("button", name="Pause it").click()
    await expect(page.get_by_role("status")).to_have_text(f"Campaign {number} was paused.")

    async def rejected() -> bool:
        async with client(stack) as http:
            path = f"/api/client/campaigns/{number}/trigger"
            return (await http.post(path, json=EXAMPLE, headers=stack.headers())).status_code == 422

    await until(rejected, "the paused campaign rejects triggers")
    await page.get_by_role("link", name="Archive").click()
    await page.get_by_role("button", name="Archive it").click()
    await page.goto(f"{stack.url}/portal/campaigns?campaign_state=archived")
    await expect(page.get_by_role("cell", name=number)).to_have_count(1)
    await page.goto(f"{stack.url}/portal/campaigns")
    await expect(page.get_by_role("cell", name=number)).to_have_count(0)


async def test_locale_is_added_in_the_editor(page: Page, stack: Stack) -> None:
    number = await create(page, stack)
    await page.goto(f"{stack.url}/portal/campaigns/demo/{number}/edit")
    new, preview = page.get_by_label("Add a locale"), page.get_by_role("button", name="Preview")
    await new.fill("no locale")
    await preview.click()
    await expect(page.get_by_text("Enter a tag such as de or pt-BR.")).not_to_have_count(0)
    await new.fill("de")
    await preview.click()
    added = page.get_by_role("group", name="Template de", exact=True)
    await expect(added).to_be_in_viewport()
    await expect(new).to_have_value("")
    await check_page(page)
    await added.get_by_label("Subject").fill("Hallo")
    await added.get_by_label("Plain text").fill("Guten Tag {{ event.random_field }}")
    await page.get_by_label("Locale", exact=True).fill("de-AT")
    await preview.click()
    await expect(page.get_by_role("heading", name="Preview")).to_be_in_viewport()
    await expect(page.get_by_text("Guten Tag value")).to_be_visible()
    await page.get_by_role("button", name="Publish").click()
    await expect(page.get_by_role("status")).to_have_text("Version 2 takes effect within a second.")
    await expect(page.locator("h3")).to_have_text(["default", "de"])


async def test_second_editor_sees_the_conflict(page: Page, stack: Stack) -> None:
    number = await create(page, stack)
    other = await new_page(page.context)
    for one in (page, other):
        await one.goto(f"{stack.url}/portal/campaigns/demo/{number}/edit")
    await page.get_by_label("Name").fill("First")
    await page.get_by_role("button", name="Publish").click()
    await expect(page.get_by_role("status")).to_have_text("Version 2 takes effect within a second.")
    await other.get_by_label("Name").fill("Second")
    await other.get_by_role("button", name="Publish").click()
    await expect(other.get_by_text("Someone else has saved a change")).to_be_visible()
    await expect(other.get_by_role("heading", name="What changed from version 1 to 2")).to_be_visible()
    await expect(other.get_by_text("Added: + First")).to_have_count(1)
    await expect(other.get_by_label("Name")).to_have_value("Second")
    await check_page(other)
    await other.get_by_role("button", name="Publish").click()
    await expect(other.get_by_role("status")).to_have_text("Version 3 takes effect within a second.")


async def test_draft_is_kept_until_it_is_published(page: Page, stack: Stack) -> None:
    number = await create(page, stack)
    address = f"{stack.url}/portal/campaigns/demo/{number}"
    await page.goto(f"{address}/edit")
    await page.get_by_label("Plain text").fill("Draft <b>{{ event.random_field }}</b>")
    await page.get_by_role("button", name="Save draft").click()
    await expect(page.get_by_role("status")).to_have_text(
        "The draft was saved. It is not live until it is published."
    )
    assert "Hello value" in await delivered(stack, number)
    await check_page(page)
    await screenshot(page, "portal-campaign-draft")
    await page.get_by_role("link", name="Compare it with the current version").click()
    await expect(page.get_by_text("Added: + Draft <b>")).to_have_count(1)
    await check_page(page)
    await screenshot(page, "portal-campaign-compare")
    await expect(page.get_by_role("link", name="Publish the draft")).to_be_visible()
    await page.goto(f"{address}/edit")
    await expect(page.get_by_label("Plain text")).to_have_value("Draft <b>{{ event.random_field }}</b>")
    await check_page(page)
    other = await page.context.new_page()  # another author publishes a change of the sender by the API
    await change_sender(stack, number)
    await page.get_by_role("button", name="Publish").click()
    await expect(page.get_by_text("has changed since the draft was made from version 1")).to_be_visible()
    await expect(page.get_by_role("heading", name="What changed from version 1 to 2")).to_be_visible()
    await other.goto(address)
    await expect(other.get_by_text("saved a draft")).to_be_visible()
    await page.get_by_role("button", name="Publish").click()
    await expect(page.get_by_role("status")).to_have_text("Version 3 takes effect within a second.")
    assert "Draft <b>value</b>" in await delivered(stack, number)


async def test_draft_is_published_after_its_comparison(page: Page, stack: Stack) -> None:
    """What is published is the draft that was compared: another one is rejected."""
    number = await create(page, stack)
    address = f"{stack.url}/portal/campaigns/demo/{number}"
    await page.goto(f"{address}/edit")
    await page.get_by_label("Plain text").fill("First")
    await page.get_by_role("button", name="Save draft").click()
    await page.goto(f"{address}/compare?newer=draft")
    await page.get_by_role("link", name="Publish the draft").click()
    await check_page(page)
    other = await page.context.new_page()
    await other.goto(f"{address}/edit")
    await other.get_by_label("Plain text").fill("Second")
    await other.get_by_role("button", name="Save draft").click()
    await expect(other.get_by_role("status")).to_contain_text("The draft was saved.")
    await page.get_by_role("button", name="Publish it").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    await page.goto(f"{address}/compare?newer=draft")
    await page.get_by_role("link", name="Publish the draft").click()
    await page.get_by_role("button", name="Publish it").click()
    await expect(page.get_by_role("status")).to_have_text("Version 2 takes effect within a second.")
    assert "Second" in await delivered(stack, number)


async def test_draft_is_discarded(page: Page, stack: Stack) -> None:
    number = await create(page, stack)
    await page.get_by_role("link", name="Edit").click()
    await page.get_by_label("Name").fill("Draft")
    await page.get_by_role("button", name="Save draft").click()
    await page.get_by_role("link", name="discard the draft").click()
    await check_page(page)
    await page.get_by_role("button", name="Discard it").click()
    await expect(page.get_by_role("status")).to_have_text("The draft was discarded.")
    await expect(page.get_by_role("heading", level=1)).to_have_text(f"Campaign {number}: Welcome")
    await expect(page.get_by_text("saved a draft")).to_have_count(0)


async def test_test_of_a_draft_is_sent(page: Page, stack: Stack) -> None:
    await create(page, stack)
    await page.get_by_role("link", name="Edit").click()
    await page.get_by_label("Plain text").fill("Draft {{ event.random_field }}")
    await page.get_by_role("button", name="Save draft").click()
    await page.get_by_role("link", name="Send a test").click()
    await check_page(page)
    await screenshot(page, "portal-campaign-test")
    await page.get_by_label("Email address").fill("nowhere")
    await page.get_by_role("button", name="Send the test").click()
    await expect(page.locator("#error-address")).to_be_visible()
    await page.get_by_label("Email address").fill("zoe@example.com")
    await page.get_by_role("button", name="Send the test").click()
    await expect(page.get_by_role("status")).to_have_text("The test is being sent.")
    await expect(page.get_by_text("Sent by an author, to test the campaign.")).to_be_visible()
    trigger_id = page.url.rpartition("/")[2]
    assert "Draft value" in (await stack.delivered("email", trigger_id)).read_text()
    await page.reload()
    await expect(page.get_by_role("cell", name="draft", exact=True)).to_have_count(1)
    await check_page(page)


async def change_sender(stack: Stack, number: str) -> None:
    """Change the sender of a campaign by the API, which publishes it."""
    async with stack.pool() as pool:
        admin = LocalAdmin(build_backend(load(None, {}), pool))
        names = {"project": "demo", "campaign_id": number}
        content = (
            await admin.call("campaigns", "GetCampaign", pb.GetCampaignRequest(**names))
        ).campaign.content
        content.sender = "Other <other@example.com>"
        request = pb.UpdateCampaignRequest(**names, content=content)
        await admin.call("campaigns", "UpdateCampaign", request)


async def test_campaign_of_a_file_is_released_first(page: Page, stack: Stack) -> None:
    await page.goto(f"{stack.url}/portal/campaigns/demo/44")
    await expect(page.get_by_text("The file campaigns.yaml manages this campaign")).to_be_visible()
    await expect(page.get_by_role("link", name="Edit")).to_have_count(0)
    await check_page(page)
    await screenshot(page, "portal-campaign")
    await page.get_by_role("link", name="Preview").click()
    await page.get_by_label("Event").fill(json.dumps({"random_field": "<b>bold</b>"}))
    await page.get_by_role("button", name="Preview").click()
    await expect(page.locator("iframe.message")).to_have_count(1)
    await check_page(page)


async def test_viewer_cannot_change_campaigns(stranger: Page, stack: Stack) -> None:
    await sign_in(stranger, stack, await create_key(stack, "viewer"))
    await stranger.goto(f"{stack.url}/portal/campaigns/demo/45")
    await expect(stranger.get_by_role("link", name="Pause")).to_have_count(0)
    await check_page(stranger)
    await stranger.goto(f"{stack.url}/portal/campaigns/demo/45/pause")
    await stranger.get_by_role("button", name="Pause it").click()
    await expect(stranger.get_by_text("needs the role author")).to_be_visible()
