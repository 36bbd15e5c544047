"""Drafts of campaigns in the admin API: save, publish, discard, conflicts."""

from __future__ import annotations

import copy
import uuid
from typing import Any

import httpx
import pytest

from server.store.pool import Pool
from tests.contract.admin.conftest import Operator
from tests.contract.admin.test_campaigns_api import CONTENT, Campaigns
from tests.kit.admin import reason_of


class Drafts(Campaigns):
    """The draft of campaign 7 of one project."""

    def __init__(self, admin: Operator, project: str) -> None:
        super().__init__(admin, project)
        self.admin = admin

    async def get(self) -> httpx.Response:
        return await self.admin.call("GET", self.path(7, "/draft"))

    async def save(self, name: str, **fields: Any) -> httpx.Response:
        content = {**copy.deepcopy(CONTENT), "display_name": name}
        return await self.admin.call("PATCH", self.path(7, "/draft"), {"content": content, **fields})

    async def act(self, verb: str, **fields: Any) -> httpx.Response:
        return await self.admin.call("POST", self.path(7, f"/draft:{verb}"), fields)


@pytest.fixture
async def mine(admin: Operator) -> Drafts:
    project = f"project-{uuid.uuid4()}"
    await admin.call("POST", "/projects", {"project": project})
    return Drafts(admin, project)


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, reason_of(answer)


async def current(mine: Drafts) -> dict[str, Any]:
    found: dict[str, Any] = (await mine.admin.call("GET", mine.path(7))).json()["campaign"]
    return found


async def test_draft_is_saved_and_published(mine: Drafts, pool: Pool) -> None:
    made = (await mine.create(7)).json()["campaign"]
    assert refusal(await mine.get()) == (404, "RESOURCE_NOT_FOUND")
    saved = (await mine.save("Draft", etag=made["etag"])).json()["campaign_draft"]
    assert (saved["base_version"], saved["saved_by"]) == (1, "a test's admin")
    assert (await mine.get()).json()["campaign_draft"] == saved
    assert await current(mine) == made
    params = {"project": mine.project, "campaign_id": "7", "older_version": "1"}
    compared = await mine.admin.call("GET", "/campaignVersions:compare", params=params)
    assert [change["field_name"] for change in compared.json()["changes"]] == ["display_name"]
    published = (await mine.act("publish", etag=saved["etag"])).json()["campaign"]
    assert (published["version"], published["content"]["display_name"]) == (2, "Draft")
    assert refusal(await mine.act("publish")) == (404, "RESOURCE_NOT_FOUND")
    rows = await pool.fetch(
        "SELECT action FROM audit_event WHERE resource = $1 ORDER BY id", f"campaign/{mine.project}/7"
    )
    assert [row["action"] for row in rows] == ["campaign.create", "campaign.save_draft", "campaign.publish"]


async def test_draft_is_discarded(mine: Drafts) -> None:
    made = (await mine.create(7)).json()["campaign"]
    saved = (await mine.save("Draft")).json()["campaign_draft"]
    assert refusal(await mine.act("discard", etag=made["etag"])) == (409, "ETAG_MISMATCH")
    assert (await mine.act("discard", etag=saved["etag"])).status_code == 200
    assert refusal(await mine.get()) == (404, "RESOURCE_NOT_FOUND")
    assert refusal(await mine.act("discard")) == (404, "RESOURCE_NOT_FOUND")
    assert await current(mine) == made


async def test_second_author_does_not_overwrite_a_draft(mine: Drafts) -> None:
    made = (await mine.create(7)).json()["campaign"]
    first = (await mine.save("First", etag=made["etag"])).json()["campaign_draft"]
    assert refusal(await mine.save("Second", etag=made["etag"])) == (409, "ETAG_MISMATCH")
    assert (await mine.get()).json()["campaign_draft"] == first
    second = (await mine.save("Second", etag=first["etag"])).json()["campaign_draft"]
    assert refusal(await mine.act("publish", etag=first["etag"])) == (409, "ETAG_MISMATCH")
    assert (await mine.get()).json()["campaign_draft"] == second


async def test_draft_of_an_old_version_is_kept_and_not_published(mine: Drafts) -> None:
    await mine.create(7)
    await mine.save("Draft")
    await mine.update(7, sender="Other <other@example.com>")
    refused = await mine.act("publish")
    assert refusal(refused) == (409, "ETAG_MISMATCH")
    assert "version 2 differs in sender" in refused.json()["message"]
    kept = (await mine.get()).json()["campaign_draft"]
    assert (kept["content"]["display_name"], kept["base_version"]) == ("Draft", 1)
    again = (await mine.save("Draft", etag=kept["etag"], base_version=2)).json()["campaign_draft"]
    published = (await mine.act("publish", etag=again["etag"])).json()["campaign"]
    assert (published["version"], published["content"]["display_name"]) == (3, "Draft")


async def test_pause_is_no_conflict_and_stays(mine: Drafts) -> None:
    await mine.create(7)
    await mine.save("Draft")
    await mine.do(7, "pause")
    published = (await mine.act("publish")).json()["campaign"]
    assert (published["campaign_state"], published["version"]) == ("paused", 3)


async def test_wrong_drafts_are_rejected(mine: Drafts, viewer: Operator, pool: Pool) -> None:
    await mine.create(7)
    broken = [{"locale": "default", "text": "{% if %}"}]
    body = {"content": {**CONTENT, "templates": broken, "providers": ["absent"]}}
    answer = await mine.admin.call("PATCH", mine.path(7, "/draft"), body)
    fields = [one["field"] for one in answer.json()["details"][1]["field_violations"]]
    assert fields == ["content.providers", "content.templates[0].text"]
    assert refusal(await mine.save("Draft", base_version=2)) == (422, "INVALID_REQUEST")
    assert refusal(await viewer.call("PATCH", mine.path(7, "/draft"), {"content": CONTENT})) == (
        403,
        "ROLE_MISSING",
    )
    await mine.save("Draft")
    assert (await viewer.call("GET", mine.path(7, "/draft"))).status_code == 200
    await pool.execute(
        "UPDATE campaign SET managed_by = 'shop.yaml' WHERE id = 7 AND project_id = (SELECT id"
        " FROM project WHERE name = $1)",
        mine.project,
    )
    for answer in (await mine.save("Draft"), await mine.act("publish")):
        assert refusal(answer) == (422, "RESOURCE_STATE")


async def test_providers_are_checked_again_when_publishing(mine: Drafts, pool: Pool) -> None:
    await mine.create(7)
    await mine.save("Draft")
    await pool.execute(
        "UPDATE campaign_draft SET content = jsonb_set(content::jsonb, '{providers}', '[\"absent\"]')::text"
        " WHERE saved_by = 'a test''s admin'"
    )
    refused = await mine.act("publish")
    assert refusal(refused) == (422, "INVALID_REQUEST")
    assert "absent" in refused.json()["message"]
    assert (await current(mine))["version"] == 1
