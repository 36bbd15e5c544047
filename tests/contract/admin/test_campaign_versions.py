"""Versions of campaigns in the admin API: get and compare."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from server.store.pool import Pool
from tests.contract.admin.conftest import Operator
from tests.contract.admin.test_campaigns_api import Campaigns
from tests.kit.admin import reason_of

TEXT = "\n".join(f"line {number}" for number in range(20))


@pytest.fixture
async def mine(admin: Operator) -> Campaigns:
    project = f"project-{uuid.uuid4()}"
    await admin.call("POST", "/projects", {"project": project})
    return Campaigns(admin, project)


def template(**parts: str) -> list[dict[str, str]]:
    return [{"locale": "default", "subject": "Hello", "text": TEXT, **parts}]


async def compared(admin: Operator, mine: Campaigns, older: int, newer: int) -> Any:
    params = {"project": mine.project, "campaign_id": "7"}
    numbers = {"older_version": str(older), "newer_version": str(newer)}
    answer = await admin.call("GET", "/campaignVersions:compare", params={**params, **numbers})
    return answer.json() if answer.status_code == 200 else (answer.status_code, reason_of(answer))


async def test_version_is_found_by_its_number(admin: Operator, mine: Campaigns) -> None:
    await mine.create(7)
    await mine.update(7, display_name="Second")
    first = (await admin.call("GET", mine.path(7, "/versions/1"))).json()["campaign_version"]
    assert (first["version"], first["content"]["display_name"]) == (1, "Welcome")
    assert first["created_by"] == "a test's admin"
    for number, expected in (("3", (404, "RESOURCE_NOT_FOUND")), ("x", (422, "INVALID_REQUEST"))):
        answer = await admin.call("GET", mine.path(7, f"/versions/{number}"))
        assert (answer.status_code, reason_of(answer)) == expected


async def test_versions_are_compared_line_by_line(admin: Operator, mine: Campaigns) -> None:
    await mine.create(7, templates=template())
    changed = TEXT.replace("line 10", "other 10")
    await mine.update(7, templates=template(text=changed), sender="Other <other@example.com>")
    await mine.do(7, "pause")
    found = await compared(admin, mine, 1, 3)
    names = [change["field_name"] for change in found["changes"]]
    assert names == ["sender", "campaign_state", "default.text"]
    lines = [(line["line_kind"], line.get("text", "")) for line in found["changes"][2]["diff_lines"]]
    assert lines == [
        ("skipped", ""),
        *[("same", f"line {number}") for number in (7, 8, 9)],
        ("removed", "line 10"),
        ("added", "other 10"),
        *[("same", f"line {number}") for number in (11, 12, 13)],
        ("skipped", ""),
    ]
    assert await compared(admin, mine, 2, 2) == {}
    assert await compared(admin, mine, 1, 9) == (404, "RESOURCE_NOT_FOUND")
    assert await compared(admin, mine, 0, 1) == (422, "INVALID_REQUEST")


async def test_versions_of_other_projects_are_hidden(
    mine: Campaigns, demo_admin: Operator, viewer: Operator
) -> None:
    await mine.create(7)
    assert (await viewer.call("GET", mine.path(7, "/versions/1"))).status_code == 200
    assert (await demo_admin.call("GET", mine.path(7, "/versions/1"))).status_code == 404
    assert await compared(demo_admin, mine, 1, 1) == (404, "RESOURCE_NOT_FOUND")


async def test_versions_of_the_migration_are_read(admin: Operator, mine: Campaigns, pool: Pool) -> None:
    """Versions that were kept when the table was made lack its newest columns."""
    await mine.create(7)
    await pool.execute(
        "UPDATE campaign_version SET content = (content::jsonb - 'archived_at' - 'managed_by')::text"
        " WHERE campaign_id = 7"
    )
    await mine.update(7, display_name="Second")
    found = await compared(admin, mine, 1, 2)
    assert [change["field_name"] for change in found["changes"]] == ["display_name"]
