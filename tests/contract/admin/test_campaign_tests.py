"""Tests of campaigns that authors send."""

from __future__ import annotations

import json
import uuid
from typing import Any

import httpx
import pytest

from server.store.pool import Pool
from tests.contract.admin.conftest import Operator
from tests.contract.admin.test_campaign_drafts import Drafts, refusal
from tests.kit.stack import Stack

EVENT = json.dumps({"name": "<Zoe>"})


@pytest.fixture
async def mine(admin: Operator) -> Drafts:
    project = f"project-{uuid.uuid4()}"
    await admin.call("POST", "/projects", {"project": project})
    found = Drafts(admin, project)
    await found.create(7)
    return found


async def send(mine: Drafts, **fields: Any) -> httpx.Response:
    body = {"address": "zoe@example.com", "event": EVENT, **fields}
    return await mine.admin.call("POST", mine.path(7, ":sendTest"), body)


async def test_current_version_is_sent(mine: Drafts, stack: Stack, pool: Pool) -> None:
    await mine.do(7, "pause")
    answer = await send(mine)
    assert answer.status_code == 200, answer.text
    trigger_id = answer.json()["trigger_id"]
    message = (await stack.delivered("email", trigger_id)).read_text()
    assert "Hi <Zoe>" in message
    assert "To: zoe@example.com" in message
    path = f"/deliveries/{trigger_id}"
    found = (await mine.admin.call("GET", path)).json()["delivery"]
    assert (found["summary"]["test_send"], "test" in found["summary"]) == (True, False)
    assert [one["campaign_version"] for one in found["attempts"]] == [2]
    listed = (await mine.admin.call("GET", "/deliveries", params={"project": mine.project})).json()
    assert [one["test_send"] for one in listed["deliveries"]] == [True]
    after = await pool.fetchval(
        "SELECT after FROM audit_event WHERE action = 'campaign.send_test' AND resource = $1",
        f"campaign/{mine.project}/7",
    )
    assert json.loads(after) == {"trigger_id": trigger_id, "version": 2, "recipient": "z…@example.com"}


async def test_draft_is_sent_as_it_was(mine: Drafts, stack: Stack) -> None:
    assert refusal(await send(mine, draft=True)) == (404, "RESOURCE_NOT_FOUND")
    for text in ("First", "Second"):
        templates = [{"locale": "default", "text": f"{text} {{{{ event.name }}}}"}]
        await mine.save("Draft", content={**(await draft_content(mine)), "templates": templates})
        trigger_id = (await send(mine, draft=True)).json()["trigger_id"]
        assert f"{text} <Zoe>" in (await stack.delivered("email", trigger_id)).read_text()
    await mine.act("discard")
    found = (await mine.admin.call("GET", f"/deliveries/{trigger_id}")).json()["delivery"]
    assert [one.get("campaign_version") for one in found["attempts"]] == [None]


async def draft_content(mine: Drafts) -> dict[str, Any]:
    found: dict[str, Any] = (await mine.admin.call("GET", mine.path(7))).json()["campaign"]["content"]
    return found


async def test_wrong_tests_are_rejected(mine: Drafts, viewer: Operator) -> None:
    answer = await send(mine, address="nowhere", timezone="Mars/Base", event="[]", user_data="{")
    fields = [one["field"] for one in answer.json()["details"][1]["field_violations"]]
    assert sorted(fields) == ["address", "event", "timezone", "user_data"]
    assert refusal(await send(mine, address="")) == (422, "INVALID_REQUEST")
    body = {"address": "zoe@example.com"}
    refused = await viewer.call("POST", mine.path(7, ":sendTest"), body)
    assert refusal(refused) == (403, "ROLE_MISSING")


async def test_tests_are_limited_in_rate(mine: Drafts, pool: Pool) -> None:
    for _ in range(10):
        assert (await send(mine)).status_code == 200
    refused = await send(mine)
    assert refusal(refused) == (429, "RATE_LIMITED")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    count = await pool.fetchval(
        "SELECT count(*) FROM trigger WHERE project_id = (SELECT id FROM project WHERE name = $1)",
        mine.project,
    )
    assert count == 10
