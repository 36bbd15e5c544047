"""Attacks in a real browser: forms and frames of another site, and markup where names belong."""

from __future__ import annotations

from playwright.async_api import Browser, Page, Route, expect

from clarion.admin.v1 import operator_pb2
from server.admin.client import LocalAdmin
from server.config import load
from server.wiring.operators import build_backend
from tests.browser.conftest import sign_in
from tests.kit.browser import check_page, new_page
from tests.kit.stack import Stack

EVIL = "http://evil.test"
SCRIPT = "<img src=x onerror=alert(1)><script>alert(2)</script>"


async def test_another_site_cannot_send_a_form(page: Page, stack: Stack) -> None:
    form = (
        f'<form method="post" action="{stack.url}/portal/projects/new">'
        '<input name="project" value="stolen"></form><script>document.forms[0].submit()</script>'
    )
    await serve_evil(page, form)
    await page.goto(EVIL)
    await expect(page.get_by_role("heading", name="Form rejected")).to_be_visible()
    await page.goto(f"{stack.url}/portal/projects")
    await expect(page.get_by_role("heading", name="Projects")).to_be_visible()
    await expect(page.get_by_text("stolen")).to_have_count(0)


async def test_another_site_cannot_frame_a_page(page: Page, stack: Stack) -> None:
    await serve_evil(page, f'<iframe src="{stack.url}/portal/sign-in"></iframe>')
    await page.goto(EVIL)
    frame = page.frames[1]
    await frame.wait_for_load_state()
    assert await frame.get_by_role("button", name="Sign in").count() == 0


async def test_markup_in_names_is_shown_as_text(browser: Browser, stack: Stack) -> None:
    """The name of who is signed in, of a key and of a browser are what strangers choose."""
    request = operator_pb2.CreateAdminKeyRequest(
        display_name=SCRIPT, grants=[operator_pb2.Grant(role="admin")]
    )
    async with stack.pool() as pool:
        local = LocalAdmin(build_backend(load(None, {}), pool))
        made = await local.call("admin_keys", "CreateAdminKey", request)
    context = await browser.new_context(user_agent=SCRIPT)
    page = await new_page(context)
    opened: list[str] = []
    page.on("dialog", lambda dialog: opened.append(dialog.message))
    await sign_in(page, stack, made.secret)
    await page.goto(f"{stack.url}/portal/access")
    await expect(page.locator(".account")).to_contain_text(SCRIPT)
    await expect(page.get_by_role("cell", name=SCRIPT).first).to_be_visible()
    await check_page(page)
    assert opened == []
    await context.close()


async def serve_evil(page: Page, body: str) -> None:
    """Let another site answer with this page."""

    async def answer(route: Route) -> None:
        await route.fulfill(body=f"<!doctype html>{body}", content_type="text/html")

    await page.route(f"{EVIL}/**", answer)
