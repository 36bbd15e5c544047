"""Every page in a real browser, with markup in all texts from outside: nothing of it runs."""

from __future__ import annotations

from playwright.async_api import Page

from portal.csv_files import EXPORT
from server.admin.client import LocalAdmin
from server.config import load
from server.wiring.operators import build_backend
from tests.kit.browser import check_page
from tests.kit.portal_world import World, build_world, end_world
from tests.kit.stack import Stack, client


async def test_every_page_shows_markup_and_is_accessible(page: Page, stack: Stack) -> None:
    async with stack.pool() as pool, client(stack) as http:
        world = await build_world(stack, pool, LocalAdmin(build_backend(load(None, {}), pool)), http)
    try:
        await check_pages(page, stack, world)
    finally:
        async with stack.pool() as pool:
            await end_world(pool)


async def check_pages(page: Page, stack: Stack, world: World) -> None:
    opened: list[str] = []
    page.on("dialog", lambda dialog: opened.append(dialog.message))
    for path, address in world.pages():
        if not path.startswith(EXPORT):
            await page.goto(f"{stack.url}/portal{address}")
            await check_page(page)
            assert opened == [], address
