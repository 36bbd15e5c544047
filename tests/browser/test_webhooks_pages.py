"""Webhooks in the portal: from a new endpoint and its secret to the log, retries and a replay."""

from __future__ import annotations

import datetime as dt
import re
import uuid

from playwright.async_api import Page, expect

from tests.browser.conftest import create_key, sign_in
from tests.kit.browser import check_page, screenshot
from tests.kit.http_api import Api, Reply, http_api
from tests.kit.stack import Stack
from tests.kit.until import until

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"


async def new_endpoint(page: Page, stack: Stack, url: str) -> str:
    """Create an endpoint of the project demo, and return its secret; the page shows it."""
    await page.goto(f"{stack.url}/portal/webhooks/new?project=demo")
    await page.get_by_label("URL").fill(url)
    await page.get_by_label("trigger.delivered").uncheck()
    await page.get_by_role("button", name="Create endpoint").click()
    await expect(page.get_by_role("heading", name="Endpoint created")).to_be_visible()
    return (await page.locator("code").filter(has_text=re.compile("^whsec_")).inner_text()).strip()


async def send_test(page: Page, here: str, api: Api) -> None:
    """Send a test message, and open the log when its first attempt is there."""
    await page.goto(f"{here}/test")
    await page.get_by_role("button", name="Send a test message").click()
    await until(lambda: bool(api.requests), "the endpoint is called")
    await until_shown(page, f"{here}/messages", "1: ")


async def postpone(stack: Stack, webhook_id: str) -> None:
    """Let the next attempt be an hour away, so that only a person makes it sooner."""
    update = "UPDATE webhook_queue SET due_at = now() + interval '1 hour'"
    query = f"{update} WHERE webhook_id = $1 AND claimed_by IS NULL"
    async with stack.pool() as pool:

        async def postponed() -> bool:
            return await pool.execute(query, uuid.UUID(webhook_id)) == "UPDATE 1"

        await until(postponed, "the message waits")


async def until_shown(page: Page, url: str, text: str) -> None:
    async def shown() -> bool:
        await page.goto(url)
        return text in await page.locator("main").inner_text()

    await until(shown, lambda: f"{text} on {url}")


async def test_an_endpoint_is_made_tested_and_deleted(page: Page, stack: Stack) -> None:
    broken = True

    def answer(_: object) -> Reply:
        return Reply(500, body=SCRIPT.encode()) if broken else Reply(204)

    async with http_api(answer) as api:
        secret = await new_endpoint(page, stack, f"{api.url}/{SCRIPT}")
        await check_page(page)
        await page.reload()
        await expect(page.get_by_role("heading", name="Endpoint http")).to_be_visible()
        assert secret not in await page.content()
        here = page.url
        await check_page(page)
        await send_test(page, here, api)
        await expect(page.get_by_text(f"{SCRIPT}").first).to_be_visible()
        await check_page(page)
        await postpone(stack, here.rpartition("/")[2])
        broken = False
        await page.goto(f"{here}/messages?failed=yes")
        await page.get_by_role("link", name="Retry message").click()
        await check_page(page)
        await page.get_by_role("button", name="Retry this message").click()
        await expect(page.get_by_role("status")).to_have_text("1 message is due now.")
        await until_shown(page, f"{here}/messages", ": delivered")
        times = len(api.requests)
        await page.goto(f"{here}/retry")
        await check_page(page)
        await page.get_by_role("button", name="Retry all failed").click()
        await expect(page.get_by_role("status")).to_contain_text("Nothing was sent again")
        since = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
        await page.goto(f"{here}/replay")
        await check_page(page)
        await page.get_by_label("Since (UTC)").fill(f"{since:%Y-%m-%dT%H:%M}")
        await page.get_by_role("button", name="Next").click()
        await check_page(page)
        await page.get_by_role("button", name="Send them again").click()
        await expect(page.get_by_role("status")).to_have_text("1 message is due now.")
        await until(lambda: len(api.requests) == times + 1, "the message is sent again")
        assert len({one.headers["webhook-id"] for one in api.requests}) == 1
        await page.goto(f"{here}/delete")
        await check_page(page)
        await page.get_by_role("button", name="Delete this endpoint").click()
        await expect(page.get_by_role("status")).to_have_text("The endpoint was deleted.")
        await check_page(page)


async def test_an_endpoint_is_changed_disabled_and_rotated(page: Page, stack: Stack) -> None:
    await page.goto(f"{stack.url}/portal/webhooks/new?project=demo")
    await check_page(page)
    await page.get_by_label("URL").fill("https://10.0.0.1/hook")
    await page.get_by_role("button", name="Create endpoint").click()
    await expect(page.get_by_label("URL")).to_have_attribute("aria-invalid", "true")
    await check_page(page)
    first = await new_endpoint(page, stack, "http://127.0.0.1:9/hook")
    await page.reload()
    here = page.url
    second = await page.context.new_page()
    for one in (page, second):
        await one.goto(here)
    await page.get_by_label("trigger.dead").uncheck()
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("status")).to_have_text("The endpoint was changed.")
    await second.get_by_label("trigger.cancelled").uncheck()
    await second.get_by_role("button", name="Save").click()
    await expect(second.get_by_role("alert")).to_contain_text("has changed since you read it")
    await expect(second.get_by_label("trigger.cancelled")).not_to_be_checked()
    await expect(second.get_by_label("trigger.dead")).to_be_checked()
    await page.goto(f"{here}/rotate")
    await second.goto(f"{here}/rotate")
    await check_page(page)
    await page.get_by_role("button", name="Rotate secret").click()
    await expect(page.get_by_role("heading", name="Secret rotated")).to_be_visible()
    await expect(page.get_by_text("Signed with the previous secret, too, until")).to_be_visible()
    assert first not in await page.content()
    await page.reload()
    await expect(page.get_by_role("heading", name="Endpoint http")).to_be_visible()
    await screenshot(page, "portal-webhook")
    await second.get_by_role("button", name="Rotate secret").click()
    await expect(second.get_by_role("alert")).to_contain_text("has changed since you opened this page")
    await page.goto(f"{here}/disable")
    await page.get_by_role("button", name="Disable this endpoint").click()
    await expect(page.locator(".facts")).to_contain_text("disabled")
    await expect(page.get_by_role("link", name="Send a test")).to_have_count(0)
    await page.goto(f"{here}/test")
    await page.get_by_role("button", name="Send a test message").click()
    await expect(page.get_by_role("alert")).to_contain_text("enable it first")
    await page.goto(f"{here}/enable")
    await page.get_by_role("button", name="Enable this endpoint").click()
    await expect(page.locator(".facts")).to_contain_text("active")


async def test_a_viewer_cannot_change_webhooks(stranger: Page, page: Page, stack: Stack) -> None:
    await new_endpoint(page, stack, "http://127.0.0.1:9/viewed")
    await page.reload()
    here = page.url
    await sign_in(stranger, stack, await create_key(stack, "viewer"))
    for path, names in (
        (f"{stack.url}/portal/webhooks", ("New endpoint",)),
        (here, ("Send a test", "Replay", "Rotate", "Disable", "Delete")),
        (f"{here}/messages", ("Retry", "Replay")),
    ):
        await stranger.goto(path)
        await check_page(stranger)
        await expect(stranger.get_by_role("button", name="Save")).to_have_count(0)
        for name in names:
            await expect(stranger.locator("main").get_by_role("link", name=name)).to_have_count(0)
    token = await stranger.locator("[name=csrf_token]").first.get_attribute("value") or ""
    actions = ("test", "enable", "disable", "delete", "rotate", "retry", "replay")
    for path in (f"{stack.url}/portal/webhooks/new", here, *(f"{here}/{one}" for one in actions)):
        answer = await stranger.request.post(
            path, form={"csrf_token": token}, headers={"sec-fetch-site": "same-origin"}
        )
        assert answer.status == 403, path
