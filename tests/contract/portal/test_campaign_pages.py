"""The forms of campaigns, without JavaScript."""

from __future__ import annotations

import html
import uuid
from collections.abc import AsyncIterator

import pytest

from server.admin.client import LocalAdmin
from server.store.pool import Pool
from tests.contract.portal.conftest import Visitor
from tests.kit.admin import create_admin_key
from tests.kit.html_pages import Field, read_page
from tests.kit.stack import Stack, client

SPARE = "spare-of-forms"


@pytest.fixture
async def author(stack: Stack, local: LocalAdmin) -> AsyncIterator[Visitor]:
    """An author of the project demo only."""
    async with client(stack) as http:
        visitor = Visitor(http, await create_admin_key(local, "author", project="demo"))
        await visitor.sign_in()
        yield visitor


@pytest.fixture(autouse=True)
async def spare(pool: Pool) -> AsyncIterator[None]:
    """A second provider for email, in a dispatcher that seems to run for an hour."""
    dispatcher = uuid.uuid4()
    await pool.execute(
        "INSERT INTO server_process (id, seen_at, role, providers)"
        " VALUES ($1, now() + interval '1 hour', 'dispatcher', $2::text::json)",
        dispatcher,
        f'{{"{SPARE}": {{"channels": ["email"]}}, "_test": {{}}}}',
    )
    yield
    await pool.execute("DELETE FROM server_process WHERE id = $1", dispatcher)


def providers(page: str) -> list[Field]:
    (form,) = (one for one in read_page(page).forms if any(each.name == "providers" for each in one.fields))
    return [one for one in form.fields if one.name == "providers"]


def chosen(page: str) -> list[str]:
    """Return the providers that the form sends if nothing is changed."""
    return [value for one in providers(page) for value in one.values if value]


async def create(author: Visitor, *names: str) -> tuple[str, int, str]:
    number = str(uuid.uuid4().int % 10**9 + 1000)
    fields = {"project": "demo", "campaign_id": number, "display_name": "Chosen", "text": "x", "subject": "x"}
    values = {"campaign_channel": "email", "sender": "a@example.com", "providers": list(names)}
    answer = await author.post("/campaigns/new", {**fields, **values})  # type: ignore[dict-item]
    return number, answer.status_code, answer.text


async def test_authors_choose_from_the_configured_providers(author: Visitor) -> None:
    page = (await author.get("/campaigns/new")).text
    assert '<option value="sandbox"' in page
    assert "sandbox, for email, push, text" in page
    assert f"{SPARE}, for email" in page
    assert "_test" not in page
    assert {one.kind for one in providers(page)} == {"select"}
    number, status, text = await create(author, SPARE, "", "sandbox")
    assert status == 303, text
    page = (await author.get(f"/campaigns/demo/{number}/edit")).text
    assert chosen(page) == [SPARE, "sandbox"]


async def test_a_free_id_is_suggested(author: Visitor) -> None:
    """The highest one may be that of an archived campaign."""
    number, _, _ = await create(author, "sandbox")
    page = read_page((await author.get("/campaigns/new")).text)
    (suggested,) = (
        value
        for form in page.forms
        for one in form.fields
        if one.name == "campaign_id"
        for value in one.values
    )
    assert int(suggested) > int(number)
    answer = await author.get(f"/campaigns/demo/{suggested}")
    assert answer.status_code == 404


async def test_the_server_checks_what_was_chosen(author: Visitor) -> None:
    _, status, page = await create(author, "sandbox", "gone")
    assert status == 422
    assert "no running dispatcher has gone" in html.unescape(page)
    assert chosen(page) == ["sandbox", "gone"]
    assert "gone (not configured)" in page
    _, status, page = await create(author, "")
    assert status == 422
    assert 'href="#field-providers"' in page


async def test_providers_are_typed_while_none_is_known(author: Visitor, pool: Pool) -> None:
    """As while a dispatcher of an older version runs, which does not report its providers."""
    old = uuid.uuid4()
    await pool.execute(
        "INSERT INTO server_process (id, seen_at, role) VALUES ($1, now() + interval '1 hour', 'dispatcher')",
        old,
    )
    try:
        page = (await author.get("/campaigns/new")).text
        assert [one.kind for one in providers(page)] == ["text"]
        number, status, text = await create(author, f"sandbox, {SPARE}")
        assert status == 303, text
        page = (await author.get(f"/campaigns/demo/{number}/edit")).text
        assert chosen(page) == [f"sandbox, {SPARE}"]
    finally:
        await pool.execute("DELETE FROM server_process WHERE id = $1", old)
