"""What the list of deliveries offers, and where the pages around it lead."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Iterable
from typing import Any

import pytest

from clarion.admin.v1 import api_key_pb2
from clarion.admin.v1 import delivery_pb2 as pb
from server.admin.client import LocalAdmin
from server.store.pool import Pool
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


async def test_a_secret_has_no_message_and_no_retry(admin: Visitor, stack: Stack, pool: Pool) -> None:
    """While it waits, its page says when its content is removed; a dead letter offers no retry."""
    later = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    ids = {}
    async with client(stack) as http:
        for retain in ("none", ""):
            body = {**EXAMPLE, "send_at": later.isoformat(), "retain": retain}
            sent = await http.post("/api/client/campaigns/44/trigger", json=body, headers=stack.headers())
            assert sent.status_code == 204, sent.text
            ids[retain] = sent.headers["x-trigger-id"]
    secret, plain = [f"/deliveries/{ids[retain]}" for retain in ("none", "")]
    waiting = (await admin.get(secret)).text
    assert "Its content is removed when its delivery ends" in waiting
    assert (f"{secret}/message" in waiting, f"{secret}/cancel" in waiting) == (False, True)
    other = (await admin.get(plain)).text
    assert ("retain: none" in other, f"{plain}/message" in other) == (False, True)
    await _bury(pool, ids.values())
    dead = (await admin.get(secret)).text
    assert "Its content was removed when its delivery ended, so it cannot be retried" in dead
    assert (f"{secret}/message" in dead, f"{secret}/retry" in dead) == (False, False)
    assert f"{plain}/retry" in (await admin.get(plain)).text
    by_url = (await admin.get(f"{secret}/message")).text
    assert "retain: none" in by_url
    assert EXAMPLE["user"]["email"] not in dead + by_url


async def _bury(pool: Pool, ids: Iterable[str]) -> None:
    """Make waiting triggers dead letters."""
    for one in ids:
        await pool.execute("DELETE FROM queue WHERE trigger_id = $1", uuid.UUID(one))
        await pool.execute("INSERT INTO dead_letter (trigger_id, error) VALUES ($1, '')", uuid.UUID(one))


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
