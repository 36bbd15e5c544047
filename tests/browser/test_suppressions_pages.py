"""Suppressions in the portal: added by hand and from a file, found, exported, removed."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from playwright.async_api import Page, expect

from tests.browser.conftest import create_key, sign_in
from tests.kit.browser import check_page, screenshot
from tests.kit.stack import Stack

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"


async def add(page: Page, stack: Stack, addresses: str, reason: str) -> None:
    await page.goto(f"{stack.url}/portal/suppressions/add?project=demo")
    await page.get_by_label("Addresses").fill(addresses)
    await page.get_by_label("Reason").fill(reason)
    await page.get_by_role("button", name="Suppress").click()


async def test_recipients_are_added_found_and_removed(page: Page, stack: Stack) -> None:
    await page.goto(f"{stack.url}/portal/suppressions?provider=absent")
    await check_page(page)
    await add(page, stack, "one@test.com\n\nnot an address\ntwo@test.com", SCRIPT)
    await expect(page.locator("#error-addresses")).to_contain_text("Line 3:")
    await expect(page.get_by_label("Reason")).to_have_value(SCRIPT)
    await check_page(page)
    await page.get_by_label("Addresses").fill("one@test.com\ntwo@test.com")
    await page.get_by_role("button", name="Suppress").click()
    await expect(page.get_by_role("status")).to_have_text("Suppressed 2 more; 0 already suppressed.")
    await page.get_by_label("Address", exact=True).fill("one@test.com")
    await page.get_by_role("button", name="Filter").click()
    await expect(page.get_by_role("row")).to_have_count(2)
    await expect(page.get_by_role("cell", name=SCRIPT)).to_be_visible()
    await check_page(page)
    await page.get_by_role("link", name="Remove one@test.com").click()
    await expect(page.get_by_text("Messages to 1 recipient")).to_be_visible()
    await check_page(page)
    await page.get_by_role("button", name="Remove 1").click()
    await expect(page.get_by_role("status")).to_have_text("Removed 1.")
    await page.goto(f"{stack.url}/portal/suppressions?reason=onerror")
    await page.get_by_role("link", name="Remove all that match").click()
    await page.get_by_label("Send the stopped messages again").check()
    await page.get_by_role("button", name=re.compile(r"^Remove \d")).click()  # other tests add some, too
    done = re.compile(r"^Removed \d+; \d+ messages are sent again\.$")
    await expect(page.get_by_role("status")).to_have_text(done)
    await page.goto(f"{stack.url}/portal/suppressions/remove")
    await expect(page.get_by_text("Choose which")).to_be_visible()
    await check_page(page)


async def test_a_file_is_imported_and_exported(page: Page, stack: Stack, tmp_path: Path) -> None:
    await page.goto(f"{stack.url}/portal/suppressions/import?project=demo")
    await check_page(page)
    file = tmp_path / "left.csv"
    file.write_bytes(
        "\ufeffchannel,address,reason\r\nemail,imported\r\ntext,+12345678900,=1+1\r\ntext,123\r\n".encode()
    )
    await page.get_by_label("CSV file").set_input_files(file)
    await page.get_by_role("button", name="Import").click()
    await expect(page.locator("#error-csv")).to_contain_text('Line 2: address "imported": ')
    # Rows of other channels and reasons are other calls.
    await expect(page.locator("#error-csv")).to_contain_text('Line 4: address "123": ')
    await expect(page.get_by_role("alert")).to_contain_text("1 recipient of the file is suppressed")
    rows = page.get_by_label("Or the rows")
    await expect(rows).to_have_value(
        "channel,address,reason\nemail,imported\ntext,+12345678900,=1+1\ntext,123\n"
    )
    await check_page(page)
    await rows.fill("channel,address,reason\nemail,imported@test.com\ntext,+12345678900,=1+1\n")
    await page.get_by_role("button", name="Import").click()
    await expect(page.get_by_role("status")).to_have_text("Suppressed 1 more; 1 already suppressed.")
    await screenshot(page, "portal-suppressions")
    await page.goto(f"{stack.url}/portal/suppressions?project=demo&channel=text")
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Export CSV").click()
    exported = tmp_path / "exported.csv"
    await (await download.value).save_as(exported)
    first, *others = list(csv.DictReader(exported.read_text().splitlines()))
    assert others == []
    assert (first["channel"], first["address"], first["reason"]) == ("text", "+12345678900", "'=1+1")
    await page.goto(f"{stack.url}/portal/suppressions/import?project=demo")
    await page.get_by_label("CSV file").set_input_files(exported)
    await page.get_by_role("button", name="Import").click()
    await expect(page.get_by_role("status")).to_have_text("Suppressed 0 more; 1 already suppressed.")


async def test_wrong_filters_are_explained(page: Page, stack: Stack) -> None:
    for query, text in (("channel=fax", '"fax" is not a channel.'), ("since=soon", "Enter a date")):
        await page.goto(f"{stack.url}/portal/suppressions?{query}")
        await expect(page.get_by_role("alert")).to_contain_text(text)
        await check_page(page)
        answer = await page.goto(f"{stack.url}/portal/export/suppressions.csv?{query}")
        assert answer
        assert answer.status == 422


async def test_a_viewer_cannot_change_suppressions(stranger: Page, page: Page, stack: Stack) -> None:
    await add(page, stack, "kept@test.com", "asked by phone")
    await sign_in(stranger, stack, await create_key(stack, "viewer"))
    await stranger.goto(f"{stack.url}/portal/suppressions?address=kept@test.com")
    await expect(stranger.get_by_role("row")).to_have_count(2)
    await check_page(stranger)
    for name in ("Add", "Import CSV", "Remove"):
        await expect(stranger.locator("main").get_by_role("link", name=name)).to_have_count(0)
    token = await stranger.locator("[name=csrf_token]").first.get_attribute("value") or ""
    for path in ("add", "import", "remove?address=kept@test.com"):
        answer = await stranger.request.post(
            f"{stack.url}/portal/suppressions/{path}",
            form={"csrf_token": token, "project": "demo", "channel": "email"},
            headers={"sec-fetch-site": "same-origin"},
        )
        assert answer.status == 403, path
        assert "roles do not allow" in await answer.text()
    await stranger.reload()
    await expect(stranger.get_by_role("row")).to_have_count(2)
