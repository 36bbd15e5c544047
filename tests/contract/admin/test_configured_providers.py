"""The providers that campaigns can use: who sees them, and what is rejected."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator

import pytest

from server.admin.client import LocalAdmin
from server.store.pool import Pool
from tests.contract.admin.conftest import Operator
from tests.contract.admin.test_campaigns_api import CONTENT
from tests.kit.admin import create_admin_key, reason_of


@pytest.fixture
async def text_only(pool: Pool) -> AsyncIterator[str]:
    """A provider of text messages, in a dispatcher that seems to run for an hour."""
    name, dispatcher = f"text-{uuid.uuid4().hex[:8]}", uuid.uuid4()
    status = json.dumps({name: {"channels": ["text"]}, "_test": {}})
    await pool.execute(
        "INSERT INTO server_process (id, seen_at, role, providers)"
        " VALUES ($1, now() + interval '1 hour', 'dispatcher', $2::text::json)",
        dispatcher,
        status,
    )
    yield name
    await pool.execute("DELETE FROM server_process WHERE id = $1", dispatcher)


async def test_authors_see_the_providers_that_they_can_use(
    local: LocalAdmin, admin: Operator, viewer: Operator, text_only: str
) -> None:
    """Also authors of one project, who do not see how providers are doing."""
    author = Operator(admin.http, await create_admin_key(local, "author", project="demo"))
    assert (await author.call("GET", "/providers")).status_code == 403
    answer = await author.call("GET", "/providers:configured")
    assert answer.status_code == 200, answer.text
    found = answer.json()["configured_providers"]
    by_name = {one["provider"]: one["channels"] for one in found}
    assert (by_name["sandbox"], by_name[text_only]) == (["email", "push", "text"], ["text"])
    assert all(set(one) == {"provider", "channels"} and one["provider"] != "_test" for one in found)
    refused = await viewer.call("GET", "/providers:configured")
    assert (refused.status_code, reason_of(refused)) == (403, "ROLE_MISSING")


@pytest.mark.parametrize(
    ("wrong", "problem"), [("absent", "no running dispatcher has"), ("", "does not deliver email")]
)
async def test_errors_name_only_suitable_providers(
    admin: Operator, text_only: str, wrong: str, problem: str
) -> None:
    content = {**CONTENT, "providers": ["sandbox", wrong or text_only]}
    body = {"project": "demo", "campaign_id": "7001", "content": content}
    refused = await admin.call("POST", "/campaigns", body)
    assert refused.status_code == 422, refused.text
    [one] = refused.json()["details"][1]["field_violations"]
    assert one["field"] == "content.providers"
    assert problem in one["description"]
    assert "configured for email are: " in one["description"]
    suitable = one["description"].partition("configured for email are: ")[2]
    assert "sandbox" in suitable
    assert not {"_test", text_only} & set(suitable.replace(",", "").split())
