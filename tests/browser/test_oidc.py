"""Signing in at an OpenID provider, by a browser, and by what no browser would send."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.async_api import Browser, Page, expect

from tests.kit.browser import check_page, new_page
from tests.kit.http_client import http_client
from tests.kit.openid_provider import CLIENT_ID, CLIENT_SECRET, OpenIdProvider, running_provider
from tests.kit.stack import Stack, client, running_stack
from tests.kit.until import until

CALLBACK = "/portal/sign-in/oidc/callback"


@asynccontextmanager
async def stack_of(issuer: str, folder: Path) -> AsyncIterator[Stack]:
    """Run Clarion with an OpenID provider during the block. It allows one address and one group."""
    allow = [{"email": "ada@example.com", "role": "admin"}, {"group": "support", "role": "viewer"}]
    settings: dict[str, object] = {
        "portal": {"enabled": True, "oidc_client_secret": CLIENT_SECRET},
        "oidc": {"issuer": issuer, "client_id": CLIENT_ID, "allow": allow},
    }
    async with running_stack(folder, settings) as running:
        yield running


@pytest.fixture(scope="module")
async def provider() -> AsyncIterator[OpenIdProvider]:
    async with running_provider() as running:
        yield running


@pytest.fixture(scope="module")
async def stack(
    browser: Browser, provider: OpenIdProvider, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    async with stack_of(provider.issuer, tmp_path_factory.mktemp("oidc")) as running:
        yield running


@pytest.fixture
async def page(browser: Browser, provider: OpenIdProvider) -> AsyncIterator[Page]:
    provider.claims.clear()
    context = await browser.new_context(viewport={"width": 1100, "height": 800})
    yield await new_page(context)
    await context.close()


@pytest.fixture
async def http(stack: Stack, provider: OpenIdProvider) -> AsyncIterator[httpx.AsyncClient]:
    provider.claims.clear()
    async with client(stack) as opened:
        yield opened


async def sign_in(page: Page) -> None:
    await page.get_by_role("link", name="Sign in with").click()
    await page.get_by_role("button", name="Continue as Ada").click()


async def code(http: httpx.AsyncClient) -> dict[str, str]:
    """Begin to sign in; return the parameters with which the provider sends the browser back."""
    to_provider = (await http.get("/portal/sign-in/oidc")).headers["location"]
    async with http_client() as other:
        back = (await other.post(to_provider)).headers["location"]
    assert urlsplit(back).path == CALLBACK
    return {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}


async def problem(http: httpx.AsyncClient, answer: dict[str, str]) -> tuple[int, str]:
    """Return status and problem of a page that does not sign in."""
    page = await http.get(CALLBACK, params=answer)
    assert "clarion-session" not in page.headers.get("set-cookie", "")
    found = re.search(r'role="alert">\s*<p><strong>(.*?)</strong>', page.text)
    assert found, page.text
    return page.status_code, found[1]


async def test_a_person_signs_in_and_out(page: Page, stack: Stack) -> None:
    await page.goto(f"{stack.url}/portal/projects?project=demo")
    await check_page(page)
    await sign_in(page)
    await page.wait_for_url(f"{stack.url}/portal/projects?project=demo")
    await expect(page.get_by_text("ada@example.com")).to_be_visible()
    await page.goto(f"{stack.url}/portal/access")
    await check_page(page)
    await page.get_by_role("button", name="Sign out").click()
    await page.wait_for_url(f"{stack.url}/portal/sign-in")


async def test_what_was_typed_survives_the_provider(page: Page, stack: Stack) -> None:
    await page.goto(f"{stack.url}/portal/projects/new")
    await sign_in(page)
    await page.wait_for_url(f"{stack.url}/portal/projects/new")
    await page.get_by_label("Name").fill("typed-before")
    async with stack.pool() as pool:
        await pool.execute("UPDATE operator_session SET expires_at = now()")

    async def is_over() -> bool:
        answer = await page.request.get(f"{stack.url}/portal/projects", max_redirects=0)
        return answer.status == HTTPStatus.SEE_OTHER

    await until(is_over, "the session has ended")
    await page.get_by_role("button", name="Create project").click()
    await sign_in(page)
    await page.get_by_role("button").last.click()
    await expect(page.get_by_label("Name")).to_have_value("typed-before")


async def test_a_group_has_access_and_others_do_not(
    page: Page, stack: Stack, provider: OpenIdProvider
) -> None:
    provider.claims.update(email="eve@example.com", groups=["nobody"])
    await page.goto(f"{stack.url}/portal/")
    await sign_in(page)
    await expect(page.get_by_role("alert")).to_contain_text("eve@example.com has no access to Clarion")
    await check_page(page)
    provider.claims.update(groups=["support"])
    await sign_in(page)
    await expect(page.get_by_text("eve@example.com")).to_be_visible()
    await expect(page.get_by_role("link", name="Access")).to_have_count(0)


async def test_a_code_works_once_and_only_here(http: httpx.AsyncClient, stack: Stack) -> None:
    answer = await code(http)
    async with client(stack) as other:
        assert "has expired" in (await problem(other, answer))[1]
    first = await http.get(CALLBACK, params=answer)
    assert (first.status_code, first.headers["location"]) == (303, "/portal/")
    assert "has expired" in (await problem(http, answer))[1]


async def test_wrong_answers_do_not_sign_in(http: httpx.AsyncClient, provider: OpenIdProvider) -> None:
    for change, expected in (
        ({"state": "x"}, "has expired"),
        ({"code": ""}, "it sent no code"),
        ({"code": "", "error_description": "<b>no</b>"}, "&lt;b&gt;no&lt;/b&gt;"),
        ({"code": "unknown"}, "invalid_grant"),
        ({"iss": "https://evil.example.com"}, "another OpenID provider"),
    ):
        status, found = await problem(http, {**await code(http), **change})
        assert (status, expected in found) == (400, True), (change, found)
    for claims, expected in (
        ({"nonce": "x" * 43}, "of another sign-in"),
        ({"aud": "another"}, "for another client"),
        ({"email_verified": False}, "no access"),
    ):
        provider.claims.update(claims)
        status, found = await problem(http, await code(http))
        assert (status in (401, 403), expected in found) == (True, True), (claims, found)
        provider.claims.clear()


async def test_sign_in_leads_only_to_the_portal(http: httpx.AsyncClient) -> None:
    for target in ("https://evil.example.com", "//evil.example.com", "/\\evil.example.com", "/" + "x" * 5000):
        sent = await http.get("/portal/sign-in/oidc", params={"next": target})
        async with http_client() as other:
            back = (await other.post(sent.headers["location"])).headers["location"]
        assert (await http.get(back)).headers["location"] == "/portal/"
