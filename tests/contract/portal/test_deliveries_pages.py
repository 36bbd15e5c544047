"""What the list of deliveries offers, and where the pages around it lead."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from typing import Any

import pytest

from clarion.admin.v1 import api_key_pb2
from clarion.admin.v1 import delivery_pb2 as pb
from server.admin.client import LocalAdmin
from tests.contract.portal.conftest import Visitor
from tests.kit.stack import EXAMPLE, Stack, client
from tests.kit.until import until

RETRY, CANCEL = "/deliveries/all/retry?", "/deliveries/all/cancel?"


@pytest.mark.parametrize(
    ("filters", "offered"),
    [
        ("campaign_id=44", {RETRY, CANCEL}),
        ("campaign_id=44&state=dead", {RETRY}),
        ("campaign_id=44&state=pending", {CANCEL}),
        ("campaign_id=44&state=delivered", set()),
        ("state=dead", set()),
        ("project=demo&state=dead", set()),
    ],
)
async def test_only_actions_for_what_is_listed_are_offered(
    admin: Visitor, filters: str, offered: set[str]
) -> None:
    page = (await admin.get(f"/deliveries?{filters}")).text
    is_listed = 'id="delivery-' in page
    assert {one for one in (RETRY, CANCEL) if one in page} == (offered if is_listed else set())
    assert ("choose another filter, too" in page) == (not offered and "state=dead" in filters)


async def test_actions_are_offered_only_if_something_matches(admin: Visitor, stack: Stack) -> None:
    user = f"waits-{uuid.uuid4().hex[:8]}"
    filters = f"external_id={user}&state=pending"
    assert CANCEL not in (await admin.get(f"/deliveries?{filters}")).text
    later = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    body = {**EXAMPLE, "user": {**EXAMPLE["user"], "external_id": user}, "send_at": later.isoformat()}
    async with client(stack) as http:
        sent = await http.post("/api/client/campaigns/44/trigger", json=body, headers=stack.headers())
    assert sent.status_code == 204, sent.text
    assert CANCEL in (await admin.get(f"/deliveries?{filters}")).text


async def test_an_operation_leads_to_its_deliveries(admin: Visitor, local: LocalAdmin) -> None:
    cases: tuple[tuple[dict[str, Any], set[str]], ...] = (
        ({"error": "a: b", "campaign_id": "44"}, {"error=a%3A+b", "campaign_id=44"}),
        ({"external_id": "u-1"}, {"q=u-1"}),
    )
    for fields, query in cases:
        request = pb.RetryDeliveriesRequest(project="demo", **fields)
        started: pb.RetryDeliveriesResponse = await local.call("deliveries", "RetryDeliveries", request)
        page = (await admin.get(f"/operations/{started.operation.operation_id}")).text
        found = re.search(r'href="/portal/deliveries\?([^"]*)">See what became', page)
        assert found, page
        assert set(found[1].split("&amp;")) == {"project=demo", *query}


async def test_tests_name_no_provider(admin: Visitor, local: LocalAdmin, stack: Stack) -> None:
    """The internal name of their provider is none that an operator could choose."""
    wanted = api_key_pb2.CreateApiKeyRequest(
        project="demo", display_name="of tests", kind="test", scopes=["trigger"]
    )
    secret = (await local.call("api_keys", "CreateApiKey", wanted)).secret
    await stack.until_in_force()
    headers = {"authorization": f"Bearer {secret}"}
    sent = await admin.http.post("/api/client/campaigns/44/trigger", json=EXAMPLE, headers=headers)
    assert sent.status_code == 204, sent.text
    trigger_id = sent.headers["x-trigger-id"]

    async def shown() -> str | None:
        page = (await admin.get(f"/deliveries/{trigger_id}")).text
        return page if "attempt 1" in page else None

    await until(shown, "the test is sent")
    for path in (f"/deliveries/{trigger_id}", "/deliveries?project=demo"):
        one = (await admin.get(path)).text
        assert "test (nothing is sent)" in one
        assert "_test" not in one
    remote = ("--target", stack.url)
    for command in (("show", trigger_id), ("list", "--limit", "100")):
        code, out, err = await stack.run("deliveries", *command, *remote, CLARION_ADMIN_KEY=admin.key)
        assert code == 0, err
        assert "test (nothing is sent)" in out
        assert "_test" not in out


async def test_dead_letters_lead_back_to_deliveries(admin: Visitor) -> None:
    page = (await admin.get("/dead-letters")).text
    assert '<a href="/portal/deliveries">Deliveries</a>' in page
    assert '<a href="/portal/deliveries" aria-current="page">' in page
