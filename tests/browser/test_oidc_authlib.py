"""Signing in at an OpenID provider that is not ours, with its own reading of the standards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.test_oidc import CALLBACK, code, problem, sign_in, stack_of
from tests.kit.authlib_provider import AuthlibProvider, running_authlib_provider
from tests.kit.browser import check_page, new_page
from tests.kit.stack import Stack, client

ADA = {
    "sub": "ada",
    "email": "ada@example.com",
    "email_verified": True,
    "groups": ["staff", "support"],
    "name": "Ada <b>L</b>",
}


@pytest.fixture(scope="module")
def provider() -> Iterator[AuthlibProvider]:
    with pytest.MonkeyPatch.context() as patch, running_authlib_provider() as running:
        patch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
        yield running


@pytest.fixture(scope="module")
async def stack(
    browser: Browser, provider: AuthlibProvider, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    async with stack_of(provider.issuer, tmp_path_factory.mktemp("authlib")) as running:
        yield running


@pytest.fixture(autouse=True)
def person(provider: AuthlibProvider) -> None:
    provider.person = dict(ADA)


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    context = await browser.new_context(viewport={"width": 1100, "height": 800})
    yield await new_page(context)
    await context.close()


@pytest.fixture
async def http(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with client(stack) as opened:
        yield opened


async def test_a_person_signs_in_at_authlib(page: Page, stack: Stack) -> None:
    await page.goto(f"{stack.url}/portal/projects?project=demo")
    await sign_in(page)
    await page.wait_for_url(f"{stack.url}/portal/projects?project=demo")
    await expect(page.get_by_text("ada@example.com")).to_be_visible()
    await check_page(page)
    await page.get_by_role("button", name="Sign out").click()
    await page.wait_for_url(f"{stack.url}/portal/sign-in")


async def test_groups_of_authlib_decide(page: Page, stack: Stack, provider: AuthlibProvider) -> None:
    provider.person.update(email="eve@example.com", groups=["staff"])
    await page.goto(f"{stack.url}/portal/")
    await sign_in(page)
    await expect(page.get_by_role("alert")).to_contain_text("eve@example.com has no access to Clarion")
    provider.person.update(groups=["support"])
    await sign_in(page)
    await expect(page.get_by_text("eve@example.com")).to_be_visible()
    await expect(page.get_by_role("link", name="Access")).to_have_count(0)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_tokens_of_authlib_are_accepted(
    http: httpx.AsyncClient, provider: AuthlibProvider, algorithm: str
) -> None:
    provider.algorithm = algorithm
    answer = await http.get(CALLBACK, params=await code(http))
    assert (answer.status_code, answer.headers.get("location")) == (303, "/portal/"), answer.text


async def test_authlib_accepts_a_code_once(http: httpx.AsyncClient, provider: AuthlibProvider) -> None:
    answer = await code(http)
    spent = provider.codes.pop(answer["code"])
    assert spent.code_challenge_method == "S256"
    assert "invalid_grant" in (await problem(http, answer))[1]


async def test_authlib_rejects_another_verifier(http: httpx.AsyncClient, provider: AuthlibProvider) -> None:
    answer = await code(http)
    provider.codes[answer["code"]].code_challenge = "x" * 43
    assert "invalid_grant" in (await problem(http, answer))[1]
