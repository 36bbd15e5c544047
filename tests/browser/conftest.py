"""One browser for the browser tests of a worker, which share the stack of the end-to-end tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, StorageState, expect

from server.admin.client import LocalAdmin
from server.config import load
from server.wiring.operators import build_backend
from tests.kit.admin import create_admin_key
from tests.kit.browser import new_page, running_browser
from tests.kit.stack import Stack
from tests.kit.until import TIMEOUT

HERE = Path(__file__).parent
SHORT = {"test_signing_in_leads_back_to_the_page", "test_key_is_made_used_seen_and_revoked"}
"""What `make test` runs of them; `make test-long` runs the others."""


@pytest.hookimpl(tryfirst=True)  # or xdist has named the groups already, where paths are given
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run these tests on the worker of the end-to-end tests, so that Clarion and the browser start once."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if item.name not in SHORT:
                item.add_marker(pytest.mark.long)
            item.add_marker(pytest.mark.xdist_group("demo"))


expect.set_options(timeout=TIMEOUT * 1000)  # its own 5 seconds are too few on a busy machine


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with running_browser() as running:
        yield running


@pytest.fixture(scope="session")
def stack(browser: Browser, request: pytest.FixtureRequest) -> Stack:
    """Return the stack of the end-to-end tests, unless the tests are skipped."""
    running: Stack = request.getfixturevalue("demo")
    return running


@pytest.fixture(scope="session")
async def admin_key(stack: Stack) -> str:
    """Return an admin key with the role admin for all projects."""
    return await create_key(stack, "admin")


async def create_key(stack: Stack, role: str, project: str = "") -> str:
    """Create an admin key."""
    async with stack.pool() as pool:
        return await create_admin_key(LocalAdmin(build_backend(load(None, {}), pool)), role, project=project)


@pytest.fixture
async def stranger(browser: Browser) -> AsyncIterator[Page]:
    """A page of someone who is not signed in."""
    context = await browser.new_context(viewport={"width": 1100, "height": 800})
    yield await new_page(context)
    await context.close()


async def sign_in(page: Page, stack: Stack, key: str) -> None:
    """Sign in, as a person does."""
    await page.goto(f"{stack.url}/portal/sign-in")
    await page.get_by_label("Admin key").fill(key)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url(f"{stack.url}/portal/")


@pytest.fixture(scope="session")
async def signed_in(browser: Browser, stack: Stack, admin_key: str) -> StorageState:
    """Return the cookies of an admin of all projects; the tests of `page` share the session."""
    context = await browser.new_context()
    await sign_in(await context.new_page(), stack, admin_key)
    state = await context.storage_state()
    await context.close()
    return state


@pytest.fixture
async def page(browser: Browser, stack: Stack, signed_in: StorageState) -> AsyncIterator[Page]:
    """A page of an admin of all projects who is signed in. Do not end its session."""
    context = await browser.new_context(
        viewport={"width": 1100, "height": 800}, storage_state=signed_in, timezone_id="UTC"
    )
    opened = await new_page(context)
    await opened.goto(f"{stack.url}/portal/")
    yield opened
    await context.close()
