"""CampaignService of the admin API: content, states, versions, previews, roles."""

from __future__ import annotations

import asyncio
import copy
import json
import uuid
from typing import Any

import httpx
import pytest

from server.store.pool import Pool
from tests.contract.admin.conftest import Operator
from tests.kit.admin import reason_of
from tests.kit.stack import EXAMPLE, Stack
from tests.kit.until import until

CONTENT: dict[str, Any] = {
    "display_name": "Welcome",
    "campaign_channel": "email",
    "providers": ["sandbox"],
    "sender": "Shop <shop@example.com>",
    "templates": [{"locale": "default", "subject": "Hello {{ event.name }}", "text": "Hi {{ event.name }}"}],
}


TWICE = [{"locale": "default", "text": "a"}, {"locale": "DEFAULT", "text": "b"}]


class Campaigns:
    """The campaigns of one project."""

    def __init__(self, admin: Operator, project: str) -> None:
        self._admin = admin
        self.project = project

    def path(self, number: int, verb: str = "") -> str:
        return f"/projects/{self.project}/campaigns/{number}{verb}"

    async def create(self, number: int, **changes: Any) -> httpx.Response:
        body = {"project": self.project, "campaign_id": str(number), "content": {**CONTENT, **changes}}
        return await self._admin.call("POST", "/campaigns", body)

    async def update(self, number: int, etag: str = "", **changes: Any) -> httpx.Response:
        body = {"content": {**copy.deepcopy(CONTENT), **changes}, "etag": etag}
        return await self._admin.call("PATCH", self.path(number), body)

    async def do(self, number: int, verb: str, **body: Any) -> dict[str, Any]:
        answer = await self._admin.call("POST", self.path(number, f":{verb}"), body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["campaign"]
        return found


@pytest.fixture
async def mine(admin: Operator) -> Campaigns:
    project = f"project-{uuid.uuid4()}"
    await admin.call("POST", "/projects", {"project": project})
    return Campaigns(admin, project)


async def test_templates_may_be_as_large_as_documented(mine: Campaigns) -> None:
    large = {"locale": "default", "subject": "s", "text": "t" * 262_144, "html": "h" * 262_144}
    made = await mine.create(7, templates=[large])
    assert made.status_code == 200, made.text[:500]
    assert made.json()["campaign"]["content"]["templates"] == [large]
    refused = await mine.create(8, templates=[large, {**large, "locale": "de"}])
    assert (refused.status_code, reason_of(refused)) == (413, "BODY_TOO_LARGE")
    assert "1048576 bytes" in refused.json()["message"]


async def test_campaign_is_created_changed_and_rolled_back(
    admin: Operator, mine: Campaigns, pool: Pool
) -> None:
    made = (await mine.create(7)).json()["campaign"]
    assert (made["version"], made["campaign_state"], "managed_by" in made) == (1, "active", False)
    assert made["content"] == CONTENT
    changed = (await mine.update(7, made["etag"], display_name="Hello")).json()["campaign"]
    assert (changed["version"], changed["content"]["display_name"]) == (2, "Hello")
    unchanged = (await mine.update(7, changed["etag"], display_name="Hello")).json()["campaign"]
    assert unchanged == changed
    stale = await mine.update(7, made["etag"], display_name="Lost")
    assert (stale.status_code, reason_of(stale)) == (409, "ETAG_MISMATCH")
    back = await mine.do(7, "rollBack", version=1)
    assert (back["version"], back["content"]) == (3, CONTENT)
    params = {"project": mine.project, "campaign_id": "7", "page_size": "2"}
    page = (await admin.call("GET", "/campaignVersions", params=params)).json()
    rest = (
        await admin.call("GET", "/campaignVersions", params={**params, "page_token": page["next_page_token"]})
    ).json()
    versions = page["campaign_versions"] + rest["campaign_versions"]
    assert [(one["version"], one["content"]["display_name"]) for one in versions] == [
        (3, "Welcome"),
        (2, "Hello"),
        (1, "Welcome"),
    ]
    assert {one["created_by"] for one in versions} == {"a test's admin"}
    rows = await pool.fetch(
        "SELECT action FROM audit_event WHERE resource = $1 ORDER BY id", f"campaign/{mine.project}/7"
    )
    assert [row["action"] for row in rows] == ["campaign.create", "campaign.update", "campaign.roll_back"]


async def test_state_is_in_force_within_a_second(admin: Operator, mine: Campaigns, stack: Stack) -> None:
    await mine.create(7)
    key = (await admin.call("POST", "/keys", {"project": mine.project, "display_name": "x"})).json()["secret"]

    async def answered(status: int) -> bool:
        answer = await admin.http.post(
            "/api/client/campaigns/7/trigger", json=EXAMPLE, headers=stack.headers(key)
        )
        return answer.status_code == status

    await until(lambda: answered(204), "the campaign accepts triggers")
    assert (await mine.do(7, "pause"))["campaign_state"] == "paused"
    await until(lambda: answered(422), "the paused campaign rejects triggers")
    assert (await mine.do(7, "archive"))["campaign_state"] == "archived"
    listed = (await admin.call("GET", "/campaigns", params={"project": mine.project})).json()
    assert "campaigns" not in listed
    assert (await mine.do(7, "resume"))["campaign_state"] == "active"
    await until(lambda: answered(204), "the resumed campaign accepts triggers")
    again = await mine.do(7, "resume")
    assert again["version"] == 4


async def test_two_editors_cannot_both_win(mine: Campaigns) -> None:
    etag = (await mine.create(7)).json()["campaign"]["etag"]
    answers = await asyncio.gather(*(mine.update(7, etag, display_name=name) for name in "abcd"))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"display_name": ""}, "content.display_name", "required"),
        ({"campaign_channel": "fax"}, "content.campaign_channel", "must be one of"),
        ({"providers": []}, "content.providers", ""),
        ({"providers": ["nowhere"]}, "content.providers", "no running dispatcher has nowhere"),
        ({"providers": ["sandbox", "sandbox"]}, "content.providers", "twice"),
        ({"sender": "not an address"}, "content.sender", ""),
        ({"templates": []}, "content.templates", "needs at least"),
        (
            {"templates": [{"locale": "default", "text": "a"}, {"locale": "de", "html": "b\n{% if %}"}]},
            "content.templates[1].html",
            "de html, line 2, column 4",
        ),
        ({"templates": [{"locale": "default"}]}, "content.templates[0].text", "would be empty"),
        (
            {"templates": [{"locale": "default", "html": "a", "mjml": "b"}]},
            "content.templates[0].mjml",
            "not both",
        ),
        (
            {"templates": [{"locale": "default", "text": "a"}, {"locale": "DEFAULT", "text": "b"}]},
            "content.templates[1].locale",
            "another template",
        ),
        ({"window_opens": "08:00"}, "content.window_closes", "required"),
        ({"window_opens": "08:00", "window_closes": "08:00"}, "content.window_closes", "equals"),
        ({"window_opens": "25:00", "window_closes": "08:00"}, "content.window_opens", ""),
        ({"unsubscribe_url": "ftp://x/{% if %}"}, "content.unsubscribe_url", "line 1, column 12"),
        ({"retry_policy": {"max_attempts": 1000}}, "content.retry_policy.max_attempts", ""),
        ({"colour": "red"}, "content.colour", ""),
    ],
)
async def test_invalid_content_is_named(
    mine: Campaigns, changes: dict[str, Any], field: str, words: str
) -> None:
    refused = await mine.create(7, **changes)
    assert (refused.status_code, reason_of(refused)) == (422, "INVALID_REQUEST"), refused.text
    violations = refused.json()["details"][1]["field_violations"]
    assert any(one["field"] == field and words in one["description"] for one in violations), violations


async def test_ids_are_unique_in_a_project(mine: Campaigns) -> None:
    await mine.create(7)
    twice = await mine.create(7)
    assert (twice.status_code, reason_of(twice)) == (409, "RESOURCE_EXISTS")
    answers = await asyncio.gather(*(mine.create(8) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]


async def test_campaign_is_created_paused(mine: Campaigns, admin: Operator) -> None:
    body = {"project": mine.project, "campaign_id": "7", "content": CONTENT}
    made = await admin.call("POST", "/campaigns", {**body, "campaign_state": "paused"})
    assert made.json()["campaign"]["campaign_state"] == "paused"
    assert (await mine.update(7, display_name="Better")).json()["campaign"]["campaign_state"] == "paused"
    assert (await mine.do(7, "resume"))["campaign_state"] == "active"
    wrong = await admin.call("POST", "/campaigns", {**body, "campaign_id": "8", "campaign_state": "archived"})
    (violation,) = wrong.json()["details"][1]["field_violations"]
    assert violation["field"] == "campaign_state"


async def test_preview_renders_without_sending(admin: Operator, mine: Campaigns) -> None:
    await mine.create(7)
    body: dict[str, Any] = {"project": mine.project, "campaign_id": "7", "event": '{"name": "<Zoe>"}'}
    shown = (await admin.call("POST", "/campaigns:preview", body)).json()
    assert (shown["subject"], shown["text"].strip(), shown["chosen_locale"]) == (
        "Hello <Zoe>",
        "Hi <Zoe>",
        "default",
    )
    text = {**CONTENT, "campaign_channel": "text", "sender": "+12025550123"}
    text["templates"] = [{"locale": "default", "text": "ä" * 80}]
    shown = (await admin.call("POST", "/campaigns:preview", {**body, "content": text})).json()
    assert shown["sms_segments"] >= 1
    push = {**text, "campaign_channel": "push", "sender": ""}
    shown = (await admin.call("POST", "/campaigns:preview", {**body, "content": push})).json()
    assert json.loads(shown["push_payload"])["body"] == "ä" * 80
    templates = [{"locale": "default", "text": "a\n{{ event.missing }}"}]
    strict = {**CONTENT, "strict_variables": True, "templates": templates}
    refused = await admin.call("POST", "/campaigns:preview", {**body, "content": strict})
    (violation,) = refused.json()["details"][1]["field_violations"]
    assert violation["field"] == "content.templates[0].text"
    assert violation["description"].startswith("default text, line 2, column 4: ")
    for wrong in ({"event": "["}, {"event": "[]"}, {"locale": "!"}, {"timezone": "Mars/Base"}):
        refused = await admin.call("POST", "/campaigns:preview", {**body, **wrong})
        assert (refused.status_code, reason_of(refused)) == (422, "INVALID_REQUEST"), wrong


async def test_roles_restrict_campaigns(viewer: Operator, demo_admin: Operator, mine: Campaigns) -> None:
    await mine.create(7)
    assert (await viewer.call("GET", mine.path(7))).status_code == 200
    for method, path, body in (
        ("PATCH", mine.path(7), {"content": CONTENT}),
        ("POST", "/campaigns", {"project": mine.project, "campaign_id": "8", "content": CONTENT}),
        *(("POST", mine.path(7, f":{verb}"), {}) for verb in ("pause", "resume", "archive", "release")),
        ("POST", mine.path(7, ":rollBack"), {"version": 1}),
    ):
        refused = await viewer.call(method, path, body)
        assert (refused.status_code, reason_of(refused)) == (403, "ROLE_MISSING"), path
    hidden = await demo_admin.call("GET", mine.path(7))
    assert (hidden.status_code, reason_of(hidden)) == (404, "RESOURCE_NOT_FOUND")
    unknown = await demo_admin.call("GET", "/projects/demo/campaigns/99999")
    assert (unknown.status_code, reason_of(unknown)) == (404, "CAMPAIGN_NOT_FOUND")


async def test_campaigns_are_listed_in_pages(admin: Operator, mine: Campaigns) -> None:
    for number in (1, 2, 3):
        await mine.create(number, display_name=f"Campaign {number}")
    numbers: list[int] = []
    params = {"project": mine.project, "page_size": "2"}
    while True:
        page = (await admin.call("GET", "/campaigns", params=params)).json()
        numbers += [one["campaign_id"] for one in page["campaigns"]]
        if "next_page_token" not in page:
            break
        params["page_token"] = page["next_page_token"]
    assert numbers == [1, 2, 3]
    found = (await admin.call("GET", "/campaigns", params={"project": mine.project, "name": "GN 2"})).json()
    assert [one["campaign_id"] for one in found["campaigns"]] == [2]


async def test_campaign_of_a_file_is_read_only_until_released(
    mine: Campaigns, admin: Operator, pool: Pool
) -> None:
    await mine.create(7)
    await pool.execute(
        "UPDATE campaign SET managed_by = 'shop.yaml' WHERE id = 7 AND project_id = (SELECT id"
        " FROM project WHERE name = $1)",
        mine.project,
    )
    refused = await mine.update(7, display_name="x")
    assert (refused.status_code, reason_of(refused)) == (422, "RESOURCE_STATE")
    assert "shop.yaml" in refused.json()["message"]
    assert (await mine.do(7, "pause"))["managed_by"] == "shop.yaml"
    assert "managed_by" not in await mine.do(7, "release")
    assert (await mine.update(7, display_name="x")).status_code == 200
