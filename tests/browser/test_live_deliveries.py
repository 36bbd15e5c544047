"""The live tail of deliveries: a new one appears, its state changes, and a killed server does not end it."""

from __future__ import annotations

import uuid

import psutil
from playwright.async_api import Page, expect

from tests.kit.browser import check_page
from tests.kit.processes import process_tree
from tests.kit.stack import EXAMPLE, Stack, client
from tests.kit.until import TIMEOUT, until

PATIENT = TIMEOUT * 1000
"""Milliseconds."""


async def send(stack: Stack, user: str) -> str:
    """Send a trigger to a user, again while no server accepts it; return its ID."""
    body = {**EXAMPLE, "user": {**EXAMPLE["user"], "external_id": user}}
    ids: list[str] = []

    async def accepted() -> bool:
        async with client(stack) as http:
            headers = {**stack.headers(), "idempotency-key": user}
            answer = await http.post("/api/client/campaigns/44/trigger", json=body, headers=headers)
        if answer.status_code == 204:
            ids.append(answer.headers["x-trigger-id"])
        return answer.status_code == 204

    await until(accepted, "the trigger is accepted")
    return ids[0]


def server_of(stack: Stack) -> psutil.Process:
    """Return the process of the only server."""
    (found,) = [one for one in process_tree(stack) if one.is_running() and one.cmdline()[-1:] == ["serve"]]
    return found


async def test_a_tail_survives_the_restart_of_its_server(page: Page, stack: Stack) -> None:
    users = [f"live-{uuid.uuid4().hex[:8]}" for _ in range(2)]
    await page.goto(f"{stack.url}/portal/deliveries?project=demo")
    await expect(page.locator("[data-live-state]")).to_have_text("Live", timeout=PATIENT)
    await check_page(page)
    first = await send(stack, users[0])
    row = page.locator(f"#delivery-{first}")
    await expect(row).to_contain_text("delivered", timeout=PATIENT)
    await expect(row).to_have_count(1)
    server = server_of(stack)
    server.kill()
    await until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE, "it was killed")
    second = await send(stack, users[1])
    await expect(page.locator(f"#delivery-{second}")).to_contain_text("delivered", timeout=PATIENT)
    rows = page.locator("#deliveries tr")
    assert await rows.first.get_attribute("id") == f"delivery-{second}"
    await expect(row).to_have_count(1)


async def test_a_tail_has_the_filters_of_its_list(page: Page, stack: Stack) -> None:
    wanted, other = (f"filter-{uuid.uuid4().hex[:8]}" for _ in range(2))
    await page.goto(f"{stack.url}/portal/deliveries?q={wanted}")
    await expect(page.get_by_text("No deliveries match")).to_be_visible()
    await send(stack, other)
    await send(stack, wanted)
    await expect(page.locator("#deliveries tr")).to_contain_text([wanted], timeout=PATIENT)
    await expect(page.get_by_text("No deliveries match")).to_have_count(0)
