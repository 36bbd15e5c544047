"""The portal as people use it."""

from __future__ import annotations

import asyncio

from playwright.async_api import Page, Route, expect

from tests.browser.conftest import create_key, sign_in
from tests.kit.browser import check_page, screenshot
from tests.kit.stack import Stack
from tests.kit.until import until


async def test_signing_in_leads_back_to_the_page(stranger: Page, stack: Stack, admin_key: str) -> None:
    await stranger.goto(f"{stack.url}/portal/projects?project=demo")
    await check_page(stranger)
    await stranger.get_by_label("Admin key").fill("ak_wrong")
    await stranger.get_by_role("button", name="Sign in").click()
    await expect(stranger.get_by_label("Admin key")).to_have_attribute("aria-invalid", "true")
    await check_page(stranger)
    await stranger.get_by_label("Admin key").fill(admin_key)
    await stranger.get_by_role("button", name="Sign in").click()
    await stranger.wait_for_url(f"{stack.url}/portal/projects?project=demo")
    await stranger.get_by_role("button", name="Sign out").click()
    await stranger.wait_for_url(f"{stack.url}/portal/sign-in")
    await stranger.goto(f"{stack.url}/portal/projects")
    await expect(stranger.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_every_page_is_accessible(page: Page, stack: Stack) -> None:
    for path in (
        "/",
        "/projects",
        "/projects/new",
        "/projects/demo",
        "/access",
        "/audit?actor=unknown",
        "/access/keys/new",
        "/api",
        "/nothing",
        "/projects/none",
    ):
        await page.goto(f"{stack.url}/portal{path}")
        await check_page(page)


async def test_a_project_is_created_and_changed(page: Page, stack: Stack) -> None:
    await page.goto(f"{stack.url}/portal/projects")
    await page.get_by_role("link", name="New project").click()
    await page.get_by_label("Name").fill("a shop")
    await page.get_by_label("Time zone").fill("Europe/Berlin")
    await page.get_by_role("button", name="Create project").click()
    await expect(page.get_by_label("Name")).to_have_value("a shop")
    await check_page(page)
    await page.get_by_label("Name").fill("shop")
    await page.get_by_role("button", name="Create project").click()
    await expect(page.get_by_role("status")).to_have_text("Project shop was created.")
    await check_page(page)
    await page.get_by_label("Calls per second").fill("12.5")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("status")).to_have_text("Project shop was changed.")
    await page.reload()
    await expect(page.get_by_role("status")).to_have_count(0)
    await expect(page.get_by_label("Calls per second")).to_have_value("12.5")


async def test_the_second_editor_loses_nothing(page: Page, stack: Stack) -> None:
    first, second = page, await page.context.new_page()
    for one in (first, second):
        await one.goto(f"{stack.url}/portal/projects/demo")
    await first.get_by_label("Burst").fill("7")
    await first.get_by_role("button", name="Save").click()
    await expect(first.get_by_role("status")).to_have_text("Project demo was changed.")
    await second.get_by_label("Time zone").fill("Asia/Tokyo")
    await second.get_by_role("button", name="Save").click()
    await expect(second.get_by_role("alert")).to_contain_text("has changed since you read it")
    await expect(second.get_by_label("Time zone")).to_have_value("Asia/Tokyo")
    await expect(second.locator(".facts")).to_contain_text("7")
    await second.get_by_role("button", name="Save").click()
    await expect(second.get_by_role("status")).to_have_text("Project demo was changed.")


async def test_a_form_survives_the_end_of_its_session(page: Page, stack: Stack, admin_key: str) -> None:
    await page.goto(f"{stack.url}/portal/projects/new")
    await page.get_by_label("Name").fill("kept & <b>bold</b>")
    cookies = await page.context.cookies()
    await page.context.clear_cookies()
    await page.get_by_role("button", name="Create project").click()
    await expect(page.get_by_role("alert")).to_contain_text("Your session has ended")
    await check_page(page)
    await page.get_by_label("Admin key").fill(admin_key)
    await page.get_by_role("button", name="Sign in").click()
    await check_page(page)
    await page.get_by_role("button", name="Return to the form").click()
    await expect(page.get_by_label("Name")).to_have_value("kept & <b>bold</b>")
    await expect(page.get_by_role("status")).to_contain_text("Nothing was sent yet")
    assert page.url == f"{stack.url}/portal/projects/new"
    assert {one["value"] for one in cookies}.isdisjoint(one["value"] for one in await page.context.cookies())


async def test_times_are_local_with_utc_on_hover(page: Page, stack: Stack) -> None:
    await page.goto(f"{stack.url}/portal/projects")
    time = page.locator("tbody time").first
    await expect(time).to_have_attribute("data-local", "yes")
    assert (await time.get_attribute("title") or "").endswith("UTC")


async def test_an_ended_session_must_sign_in_again(page: Page, stack: Stack, admin_key: str) -> None:
    context = await page.context.browser.new_context()  # type: ignore[union-attr]
    other = await context.new_page()
    await sign_in(other, stack, await create_key(stack, "viewer"))
    await page.goto(f"{stack.url}/portal/access")
    row = page.locator("table").first.locator("tr", has_text="a test's viewer")
    await row.get_by_role("link", name="End").first.click()
    await check_page(page)
    await page.get_by_role("button", name="End this session").click()
    await expect(page.get_by_role("status")).to_contain_text("was ended")

    async def signed_out() -> bool:
        await other.goto(f"{stack.url}/portal/projects")
        return other.url.startswith(f"{stack.url}/portal/sign-in")

    await until(signed_out, "the ended session is rejected")
    await context.close()


async def test_the_first_page_leads_to_the_first_trigger(page: Page, stack: Stack) -> None:
    await page.get_by_role("link", name="Send a trigger").click()
    await check_page(page)
    await page.get_by_role("button", name="Send trigger").click()
    await expect(page.get_by_role("status")).to_contain_text("The trigger was accepted")
    await stack.delivered("email", await page.locator(".notice code").inner_text())
    await page.get_by_label("API key").fill("sk_00000000-0000-0000-0000-000000000000")
    await page.get_by_role("button", name="Send trigger").click()
    await expect(page.get_by_label("API key")).to_have_attribute("aria-invalid", "true")
    await check_page(page)
    await page.get_by_label("API key").fill(stack.key)
    await page.get_by_label("Body").fill('{"user": {"external_id": "x", "email": "nobody"}}')
    await page.get_by_role("button", name="Send trigger").click()
    await expect(page.locator("#error-body")).to_contain_text("user.email")
    await page.get_by_label("Body").fill('{"user": {"external_id": "x", "email": "it\'s@test.com"}}')
    await page.get_by_label("API key").fill(stack.key)
    await page.get_by_role("button", name="Send trigger").click()
    await expect(page.get_by_role("status")).to_contain_text("The trigger was accepted")
    await screenshot(page, "portal-api")
    await check_page(page)
    trigger_id = await page.locator(".notice code").inner_text()
    await stack.delivered("email", trigger_id)
    curl = await page.locator("pre").inner_text()
    assert "it'\"'\"'s@test.com" in curl
    assert stack.key not in await page.content()
    await page.get_by_role("link", name="See what happens to it").click()

    async def delivered() -> bool:
        await page.reload()
        return await page.locator("main").get_by_text("delivered", exact=True).count() > 0

    await until(delivered, "the page of the delivery shows it as delivered")


TAIL = """<!doctype html><html lang="en"><head><title>Tail</title>
<script src="{script}" defer></script></head><body><table><tbody id="rows"></tbody></table>
<p data-live="/portal/live/test" data-target="rows" data-limit="2" hidden><span data-live-state></span>
<button type="button" data-live-switch>Pause</button></p></body></html>"""


async def test_a_tail_pauses_and_continues_after_the_last_row(page: Page, stack: Stack) -> None:
    """The script alone, before a made-up stream: each connection brings two rows and ends."""
    script = await page.locator("script").get_attribute("src") or ""
    asked: list[str] = []
    paused = asyncio.Event()

    async def stream(route: Route) -> None:
        asked.append(route.request.url.partition("?")[2])
        first = 2 * len(asked)
        if len(asked) > 2:  # the rows of the second one are there for as long as they are looked at
            await paused.wait()
        rows = "".join(f"id: {n}\ndata: <tr><td>row {n}</td></tr>\n\n" for n in (first - 1, first))
        await route.fulfill(body=f"{rows}event: end\ndata:\n\n", content_type="text/event-stream")

    await page.route("**/portal/live/test*", stream)
    await page.route(
        "**/portal/tail",
        lambda route: route.fulfill(body=TAIL.format(script=script), content_type="text/html"),
    )
    await page.goto(f"{stack.url}/portal/tail")
    await expect(page.locator("#rows tr").first).to_have_text("row 4")
    await expect(page.locator("#rows tr")).to_have_count(2)
    assert asked[:2] == ["", "after=2"]
    await page.get_by_role("button", name="Pause").click()
    await expect(page.locator("[data-live-state]")).to_have_text("Paused")
    paused.set()
    last = await page.locator("#rows tr").first.inner_text()
    await page.get_by_role("button", name="Continue").click()
    await expect(page.locator("#rows tr").first).not_to_have_text(last)
    await page.unroute("**/portal/live/test*")
    await page.route(
        "**/portal/live/test*",
        lambda route: route.fulfill(body="event: signed-out\ndata:\n\n", content_type="text/event-stream"),
    )
    await expect(page.locator("[data-live-state]")).to_contain_text("You are signed out")


async def test_one_tail_too_many_waits_for_the_person(page: Page, stack: Stack) -> None:
    script = await page.locator("script").get_attribute("src") or ""
    asked: list[str] = []

    async def stream(route: Route) -> None:
        asked.append(route.request.url)
        await route.fulfill(body="event: too-many\ndata: Close one.\n\n", content_type="text/event-stream")

    await page.route("**/portal/live/test*", stream)
    await page.route(
        "**/portal/tail",
        lambda route: route.fulfill(body=TAIL.format(script=script), content_type="text/html"),
    )
    await page.goto(f"{stack.url}/portal/tail")
    for count in (1, 2):
        await expect(page.locator("[data-live-state]")).to_have_text("Close one.")
        assert len(asked) == count
        await page.get_by_role("button", name="Continue").click()


async def test_fields_are_checked_before_the_form_is_sent(page: Page, stack: Stack) -> None:
    await page.goto(f"{stack.url}/portal/projects/new")
    await page.get_by_role("button", name="Create project").click()
    name = page.get_by_label("Name")
    await expect(name).to_have_attribute("aria-invalid", "true")
    await expect(page.locator(".field.wrong .error")).to_have_count(1)
    await check_page(page)
    await name.fill("fine")
    await page.get_by_label("Time zone").focus()
    await expect(name).to_have_attribute("aria-invalid", "false")
    await expect(page.locator(".error")).to_have_count(0)
