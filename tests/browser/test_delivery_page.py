"""One delivery: its time line and its message. HTML of messages looks as it was written, and does nothing."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from playwright.async_api import FrameLocator, Page, Route, expect

from clarion.admin.v1 import api_key_pb2, campaign_pb2, project_pb2, webhook_pb2
from server.admin.client import LocalAdmin
from server.config import load
from server.wiring.operators import build_backend
from tests.browser.conftest import create_key, sign_in
from tests.kit.browser import check_page, screenshot
from tests.kit.http_api import http_api
from tests.kit.stack import EXAMPLE, Stack, client
from tests.kit.until import until

EVIL = "http://evil.test"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
STYLED = """<!doctype html><html><head><title>Order</title><style>h1 { color: rgb(1, 2, 3) }</style></head>
<body style="background: rgb(240, 248, 255); font-family: sans-serif; padding: 16px">
<h1>Hello {{ event.name }}</h1>
<p style="background-color: rgb(4, 5, 6); color: white; padding: 12px">Your order is on its way.</p>
</body></html>
"""
HOSTILE = f"""<!doctype html><html><head>
<base href="{EVIL}/"><meta http-equiv="refresh" content="0; url={EVIL}/refreshed">
<link rel="stylesheet" href="{EVIL}/style.css"><style>@import url("{EVIL}/imported.css");
#p {{ color: rgb(7, 8, 9); background: url("{EVIL}/background.png") }}</style></head>
<body><p id="p" style="border-left: 5px solid">before</p><script>document.all.p.textContent = "ran"</script>
<img src="{EVIL}/pixel.png" onerror="document.all.p.textContent = 'failed'"><img src="/portal/">
<iframe src="{EVIL}/frame"></iframe><video src="{EVIL}/film" autoplay></video>
<a id="new" href="{EVIL}/link">a link</a> <a id="top" href="{EVIL}/top" target="_top">another</a>
<a id="script" href="javascript:document.all.p.textContent = 'clicked'">a script</a>
<form action="{EVIL}/form" method="post"><button id="send">Send</button></form></body></html>
"""


def content_of(html: str) -> campaign_pb2.CampaignContent:
    template = campaign_pb2.CampaignTemplate(
        locale="default", subject="Order {{ event.name }}", text="Hello {{ event.name }}", html=html
    )
    return campaign_pb2.CampaignContent(
        display_name="Orders",
        campaign_channel="email",
        providers=["sandbox"],
        sender="Shop <shop@example.com>",
        templates=[template],
    )


@dataclass
class Shop:
    """A project with a campaign, a key, and an endpoint of webhooks."""

    stack: Stack
    local: LocalAdmin
    project: str
    secret: str

    async def write(self, html: str) -> None:
        """Replace the content of campaign 1."""
        request = campaign_pb2.UpdateCampaignRequest(
            project=self.project, campaign_id="1", content=content_of(html)
        )
        await self.local.call("campaigns", "UpdateCampaign", request)

    async def deliver(self) -> str:
        """Trigger campaign 1; return the trigger's ID once the message was sent."""
        await self.stack.until_in_force()
        headers = {**self.stack.headers(self.secret), "traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-01"}
        body = {"user": {"external_id": "zoe", "email": "zoe@example.com"}, "event": {"name": "<Zoe>"}}
        async with client(self.stack) as http:
            answer = await http.post("/api/client/campaigns/1/trigger", json=body, headers=headers)
        assert answer.status_code == 204, answer.text
        trigger_id = str(answer.headers["x-trigger-id"])
        await self.stack.delivered("email", trigger_id)
        return trigger_id

    async def add_endpoint(self, url: str) -> None:
        """Create an endpoint for webhooks."""
        request = webhook_pb2.CreateWebhookRequest(
            project=self.project, url=url, events=["trigger.delivered"]
        )
        await self.local.call("webhooks", "CreateWebhook", request)


@pytest.fixture
async def shop(stack: Stack) -> AsyncIterator[Shop]:
    name = f"shop-{uuid.uuid4().hex[:8]}"
    async with stack.pool() as pool:
        local = LocalAdmin(build_backend(load(None, {"CLARION_WEBHOOKS_ALLOW": "127.0.0.0/8"}), pool))
        await local.call("projects", "CreateProject", project_pb2.CreateProjectRequest(project=name))
        request = api_key_pb2.CreateApiKeyRequest(
            project=name, display_name="till", kind="live", scopes=["trigger"]
        )
        made = await local.call("api_keys", "CreateApiKey", request)
        create = campaign_pb2.CreateCampaignRequest(project=name, campaign_id="1", content=content_of(""))
        await local.call("campaigns", "CreateCampaign", create)
        yield Shop(stack, local, name, made.secret)


async def test_time_line_and_message_are_shown(page: Page, stranger: Page, stack: Stack, shop: Shop) -> None:
    await shop.write(STYLED)
    async with http_api() as api:
        await shop.add_endpoint(f"{api.url}/hook")
        trigger_id = await shop.deliver()
        address = f"{stack.url}/portal/deliveries/{trigger_id}"

        async def is_notified() -> bool:
            await page.goto(address)
            return await page.get_by_role("row", name="webhook trigger.delivered: delivered").count() == 1

        await until(is_notified, "the time line has the webhook")
    rows = await page.get_by_role("table").get_by_role("row").all_inner_texts()
    found = [
        next(what for what in ("accepted", "attempt 1", "webhook", "What") if what in row) for row in rows
    ]
    assert found == ["What", "accepted", "attempt 1", "webhook"]
    assert "HTTP 2" in rows[-1]
    assert "/hook" in rows[-1]
    await expect(page.get_by_role("row", name="accepted")).to_contain_text("till")
    await expect(page.get_by_role("link", name="till")).to_be_visible()
    await expect(page.get_by_text(TRACE_ID, exact=True)).to_be_visible()
    await check_page(page)
    await page.get_by_role("link", name="Show the message").click()
    await expect(page.get_by_text("This is not a stored copy")).to_be_visible()
    await expect(page.get_by_text("Order <Zoe>")).to_be_visible()
    message = page.frame_locator("iframe.message")
    await expect(message.locator("h1")).to_have_text("Hello <Zoe>")
    await expect(message.locator("h1")).to_have_css("color", "rgb(1, 2, 3)")
    await expect(message.locator("p")).to_have_css("background-color", "rgb(4, 5, 6)")
    await check_page(page)
    await screenshot(page, "portal-delivery-message")
    await sign_in(stranger, stack, await create_key(stack, "viewer"))
    await stranger.goto(address)
    await expect(stranger.get_by_role("link", name="Show the message")).to_have_count(0)
    await stranger.goto(f"{address}/message")
    await expect(stranger.get_by_text("needs the role operator")).to_be_visible()


async def test_page_follows_a_delivery_that_waits(page: Page, stack: Stack) -> None:
    later = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    body = {**EXAMPLE, "send_at": later.isoformat()}
    async with client(stack) as http:
        answer = await http.post("/api/client/campaigns/44/trigger", json=body, headers=stack.headers())
    assert answer.status_code == 204, answer.text
    trigger_id = answer.headers["x-trigger-id"]
    await page.goto(f"{stack.url}/portal/deliveries/{trigger_id}")
    state = page.locator("dd .badge").first
    await expect(state).to_have_text("pending")
    await page.evaluate("window.wasReloaded = false")
    async with stack.pool() as pool:
        await pool.execute("UPDATE queue SET due_at = now() WHERE trigger_id = $1", uuid.UUID(trigger_id))
    await expect(state).to_have_text("delivered")
    assert await page.evaluate("window.wasReloaded") is False
    await expect(page.locator("[data-refresh]")).to_have_count(0)
    await expect(page.locator("#delivery td[data-label]").first).to_be_attached()
    await check_page(page)


async def test_device_token_is_found(page: Page, stack: Stack) -> None:
    token = f"token-{uuid.uuid4().hex}"
    body = {"user": {"external_id": "owner", "device_token": token}, "event": {}}
    async with client(stack) as http:
        answer = await http.post("/api/client/campaigns/46/trigger", json=body, headers=stack.headers())
    assert answer.status_code == 204, answer.text
    await page.goto(f"{stack.url}/portal/deliveries?project=demo")
    await page.get_by_label("Trigger ID, user or address").fill(token)
    await page.get_by_role("button", name="Search").click()
    await expect(page.locator(f"#delivery-{answer.headers['x-trigger-id']}")).to_be_visible()
    await expect(page.get_by_label("Address", exact=True)).to_have_value(token)


async def test_message_in_a_frame_does_nothing(page: Page, stack: Stack, shop: Shop) -> None:
    """As the message of a delivery, and as a preview of what is in the editor."""
    loaded: list[str] = []

    async def note(route: Route) -> None:
        loaded.append(route.request.url)
        await route.fulfill(body="<!doctype html><p>evil", content_type="text/html")

    await page.context.route(f"{EVIL}/**", note)
    await shop.write(HOSTILE)
    trigger_id = await shop.deliver()
    await page.goto(f"{stack.url}/portal/deliveries/{trigger_id}/message")
    await tries(page.frame_locator("iframe.message"))
    await page.goto(f"{stack.url}/portal/campaigns/{shop.project}/1/edit")
    await page.get_by_label("Event").fill(json.dumps({"name": "Zoe"}))
    await page.get_by_role("button", name="Preview").click()
    await tries(page.frame_locator("iframe.message"))
    frame = page.frames[1].url
    assert page.context.pages == [page]
    await page.goto(f"{EVIL}/control")  # whatever the frame had requested was before this
    assert loaded == [f"{EVIL}/control"]
    answer = await page.context.request.get(frame)
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none';")


async def tries(message: FrameLocator) -> None:
    """Use what the message offers: it stays as it is, with its styles."""
    text = message.locator("#p")
    await expect(text).to_have_css("color", "rgb(7, 8, 9)")
    await expect(text).to_have_css("border-left-width", "5px")
    for name in ("#new", "#top", "#script", "#send"):
        await message.locator(name).click()
        await expect(text).to_have_text("before")
