"""The OpenAPI document of the admin API against its own gateway: what it says is what is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from server.admin.client import LocalAdmin
from server.config import load
from server.wiring.operators import build_backend
from tests.kit.admin import create_admin_key
from tests.kit.documented_errors import check_rest
from tests.kit.portal_world import build_world
from tests.kit.schemathesis_run import Run, run_schemathesis, unsuccessful
from tests.kit.stack import Stack, client, running_stack

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("contract")]

GONE = {
    "get /api/admin/v1/projects/{project}/campaigns/{campaign_id}/draft",
    "get /api/admin/v1/webhooks/{webhook_id}",
}
"""Reads of what does not exist: the campaign has no draft, and an earlier call deletes the endpoint."""
REFUSED = {"negative_data_rejection": {"expected-statuses": ["4xx", "5xx"]}}


@pytest.fixture(scope="module")
async def own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Run a separate stack: the calls change all projects."""
    async with running_stack(tmp_path_factory.mktemp("admin")) as running:
        yield running


@pytest.fixture(scope="module")
async def document(own: Stack) -> dict[str, Any]:
    """Return what the gateway publishes."""
    async with client(own) as http:
        return dict((await http.get("/openapi/admin.json")).json())


@pytest.fixture(scope="module")
async def run(own: Stack, document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run schemathesis once."""
    async with own.pool() as pool, client(own) as http:
        local = LocalAdmin(build_backend(load(None, {}), pool))
        world = await build_world(own, pool, local, http)
        secret = await create_admin_key(local, "admin")
    ids = {**world.ids, "admin_key_id": world.admin_key_id}
    return await run_schemathesis(
        with_absent_values(document),
        own.url,
        secret,
        {name: [value] for name, value in ids.items() if f"{{{name}}}" in " ".join(document["paths"])},
        tmp_path_factory.mktemp("schemathesis"),
        operations=[{"include-path-regex": ".*", "checks": REFUSED}],
        examples=5,
        seconds=1000,
    )


def with_absent_values(one: Any) -> Any:
    """Return a document that allows null and an empty text for optional fields: both mean that it is absent.

    Generators of clients make better types from the published document, which does not say so.
    """
    if isinstance(one, list):
        return [with_absent_values(each) for each in one]
    if not isinstance(one, dict):
        return one
    found = {name: with_absent_values(value) for name, value in one.items()}
    required = found.get("required", [])
    for name, schema in found.get("properties", {}).items() if found.get("type") == "object" else ():
        if name not in required:
            found["properties"][name] = {"anyOf": [schema, {"enum": [None, ""]}]}
    if found.get("in") == "query" and not found.get("required"):
        found["schema"] = {"anyOf": [found["schema"], {"enum": [""]}]}
    return found


def test_admin_responses_match_the_document(run: Run) -> None:
    assert run.code == 0, run.out


def test_each_read_of_the_admin_api_succeeds(run: Run, document: dict[str, Any]) -> None:
    failed = {one for one in unsuccessful(run, document) if one.startswith("get ")}
    assert failed <= GONE


def test_every_admin_error_is_documented(run: Run) -> None:
    refusals = [answer for _, _, answer in run.calls if answer.is_error]
    assert len(refusals) > 50
    for refusal in refusals:
        check_rest(refusal)
