"""ApplyCampaigns: the campaigns of a file, all or none, and never over other changes."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest

from tests.contract.admin.conftest import Operator
from tests.kit.admin import reason_of

CONTENT = {
    "display_name": "One",
    "campaign_channel": "push",
    "providers": ["sandbox"],
    "templates": [{"locale": "default", "title": "Hello", "text": "You"}],
}


def campaign(number: str = "1", **content: object) -> dict[str, Any]:
    return {"campaign_id": number, "content": {**CONTENT, **content}}


@pytest.fixture
async def project(admin: Operator) -> str:
    name = f"files-{uuid.uuid4()}"
    assert (await admin.call("POST", "/projects", {"project": name})).status_code == 200
    return name


async def apply(caller: Operator, project: str, *campaigns: object, **more: object) -> Any:
    body = {"project": project, "file_name": "a.yaml", "campaigns": campaigns, **more}
    return await caller.call("POST", "/campaigns:apply", body)


async def versions(admin: Operator, project: str) -> dict[int, int]:
    found = (await admin.call("GET", "/campaigns", params={"project": project})).json()
    return {one["campaign_id"]: one["version"] for one in found.get("campaigns", [])}


async def test_a_dry_run_says_what_would_happen(admin: Operator, project: str) -> None:
    dry = (await apply(admin, project, campaign(), dry_run=True)).json()["results"]
    assert dry == [{"campaign_id": 1, "result": "created"}]
    assert await versions(admin, project) == {}
    assert (await apply(admin, project, campaign())).json()["results"] == dry
    assert (await apply(admin, project, campaign())).json()["results"][0]["result"] == "unchanged"
    changed = campaign(display_name="Two")
    for dry_run in (True, False):
        results = (await apply(admin, project, changed, dry_run=dry_run)).json()["results"]
        assert results == [{"campaign_id": 1, "result": "changed", "changed_fields": ["display_name"]}]
    assert await versions(admin, project) == {1: 2}
    applied = await admin.call("GET", "/auditEvents", params={"project": project, "action": "campaign.apply"})
    recorded = [json.loads(one["after_json"])["version"] for one in applied.json()["audit_events"]]
    assert recorded == [2, 1]


async def test_changes_made_elsewhere_are_kept(admin: Operator, project: str) -> None:
    await apply(admin, project, campaign())
    await admin.call("POST", f"/projects/{project}/campaigns/1:release", {})
    both = (campaign("2"), campaign(display_name="Two"))
    refused = await apply(admin, project, *both)
    assert (refused.status_code, reason_of(refused)) == (422, "RESOURCE_STATE")
    assert set(await versions(admin, project)) == {1}
    assert (await apply(admin, project, *both, overwrite=True)).status_code == 200
    other = await apply(admin, project, campaign(display_name="Three"), file_name="b.yaml")
    assert reason_of(other) == "RESOURCE_STATE"


async def test_one_invalid_campaign_keeps_all_out(admin: Operator, project: str) -> None:
    wrong = [campaign("1"), campaign("2", providers=["pigeon"]), campaign("1"), campaign("9" * 19)]
    refused = await apply(admin, project, *wrong)
    fields = [one["field"] for one in refused.json()["details"][1]["field_violations"]]
    assert refused.status_code == 422
    assert fields == [
        "campaigns[1].content.providers",
        "campaigns[2].campaign_id",
        "campaigns[3].campaign_id",
    ]
    assert await versions(admin, project) == {}


async def test_files_are_applied_at_the_same_moment(admin: Operator, project: str) -> None:
    numbers = [str(number) for number in range(1, 6)]
    answers = await asyncio.gather(
        *(apply(admin, project, *(campaign(one) for one in order)) for order in (numbers, numbers[::-1]) * 4)
    )
    assert [answer.status_code for answer in answers] == [200] * 8
    assert await versions(admin, project) == dict.fromkeys(range(1, 6), 1)


async def test_a_viewer_cannot_apply_a_file(viewer: Operator, project: str) -> None:
    for dry_run in (True, False):
        refused = await apply(viewer, project, campaign(), dry_run=dry_run)
        assert (refused.status_code, reason_of(refused)) == (403, "ROLE_MISSING")
