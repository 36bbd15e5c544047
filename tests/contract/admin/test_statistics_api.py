"""StatisticsService and ProviderService over REST and the command line: numbers, roles and wrong queries."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from server.store.pool import Pool
from tests.contract.admin.conftest import Operator
from tests.kit.admin import reason_of
from tests.kit.stack import Stack
from tests.kit.until import until

COUNTED = """
    INSERT INTO statistic
    SELECT resolution, date_bin(resolution * interval '1 s', now(), 'epoch'), id, campaign, 'push', 'hidden',
        'delivered', 3, 5
    FROM project, unnest(ARRAY[60, 3600]) AS resolution, unnest(ARRAY[0, 9]) AS campaign WHERE name = $1
"""
CAMPAIGNS = """
    INSERT INTO statistic
    SELECT 3600, date_trunc('hour', now() - interval '3 days'), id, campaign, 'push', 'many', 'delivered', 3,
        campaign
    FROM project, generate_series(1, 30) AS campaign WHERE name = $1
"""
MESSAGE = {"user": {"external_id": "statistics", "email": "statistics@example.com"}}


async def queried(caller: Operator, **params: str) -> dict[str, Any]:
    answer = await caller.call("GET", "/statistics", params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def delivered(caller: Operator, **params: str) -> int:
    return int((await queried(caller, **params))["groups"][0]["total"].get("delivered", 0))


async def send(admin: Operator, stack: Stack) -> None:
    answer = await admin.http.post("/api/client/campaigns/44/trigger", json=MESSAGE, headers=stack.headers())
    assert answer.status_code == 204, answer.text


async def test_a_delivered_message_is_counted(admin: Operator, stack: Stack) -> None:
    before = (await queried(admin))["groups"][0]["total"]
    await send(admin, stack)
    accepted = (await queried(admin))["groups"][0]["total"]["accepted"]
    assert accepted > before.get("accepted", 0)

    async def counted() -> bool:
        return bool(await delivered(admin) > before.get("delivered", 0))

    await until(counted, "the delivery is counted")
    for period, step in (("hour", 60), ("day", 3600), ("week", 21_600)):
        found = await queried(admin, period=period, group_by="campaign", project="demo")
        group = next(one for one in found["groups"] if one["campaign_id"] == 44)
        assert (found["step_seconds"], group["project"]) == (step, "demo")
        assert (
            sum(one["counts"].get("delivered", 0) for one in group["steps"])
            == group["total"]["delivered"]
            > 0
        )
        assert 0 < group["total"]["p50_seconds"] <= group["total"]["p95_seconds"]
    [channel] = (await queried(admin, channel="email", group_by="channel"))["groups"]
    assert channel["channel"] == "email"
    assert len((await queried(admin, step_seconds="600"))["groups"][0]["steps"]) == 6
    assert await delivered(admin, campaign_id="4711") == 0


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("period=year", "period"),
        ("group_by=address", "group_by"),
        ("step_seconds=90", "step_seconds"),
        ("step_seconds=420", "step_seconds"),
        ("step_seconds=-60", "step_seconds"),
        ("period=day&step_seconds=60", "step_seconds"),
        ("period=week&step_seconds=5400", "step_seconds"),
        ("campaign_id=x", "campaign_id"),
        ("campaign_id=9999999999999999999", "campaign_id"),
        ("channel=fax", "channel"),
    ],
)
async def test_wrong_query_names_its_field(admin: Operator, query: str, field: str) -> None:
    answer = await admin.call("GET", f"/statistics?{query}")
    assert (answer.status_code, reason_of(answer)) == (422, "INVALID_REQUEST"), answer.text
    assert [one["field"] for one in answer.json()["details"][1]["field_violations"]] == [field]


async def test_projects_restrict_statistics(admin: Operator, demo_admin: Operator, pool: Pool) -> None:
    other = f"statistics-{uuid.uuid4()}"
    await admin.call("POST", "/projects", {"project": other})
    await pool.execute(COUNTED, other)
    assert await delivered(admin, project=other) == 5
    assert await delivered(admin, provider="hidden") >= 5
    assert await delivered(demo_admin, provider="hidden") == 0
    hidden = await demo_admin.call("GET", "/statistics", params={"project": other})
    assert (hidden.status_code, reason_of(hidden)) == (404, "RESOURCE_NOT_FOUND")
    groups = (await queried(demo_admin, group_by="project")).get("groups", [])
    assert {one["project"] for one in groups} <= {"demo"}


@pytest.mark.parametrize(("step_seconds", "groups"), [("86400", 20), ("21600", 20), ("3600", 7)])
async def test_groups_have_a_bounded_number_of_steps(
    admin: Operator, pool: Pool, step_seconds: str, groups: int
) -> None:
    project = f"statistics-{uuid.uuid4()}"
    await admin.call("POST", "/projects", {"project": project})
    await pool.execute(CAMPAIGNS, project)
    found = await queried(
        admin, project=project, period="week", step_seconds=step_seconds, group_by="campaign"
    )
    largest = [one["campaign_id"] for one in found["groups"]]
    assert largest == list(range(30, 30 - groups, -1))
    assert found["omitted_groups"] == 30 - groups
    assert sum(len(one["steps"]) for one in found["groups"]) <= 1200


async def test_providers_need_the_role_for_all_projects(viewer: Operator, demo_admin: Operator) -> None:
    refused = await demo_admin.call("GET", "/providers")
    assert (refused.status_code, reason_of(refused)) == (403, "ROLE_MISSING")
    assert (await viewer.call("GET", "/providers")).status_code == 200


async def test_provider_reports_its_last_success(viewer: Operator, admin: Operator, stack: Stack) -> None:
    await send(admin, stack)

    async def sandbox() -> dict[str, Any] | None:
        found = (await viewer.call("GET", "/providers")).json()
        assert found["dispatcher_count"] >= 1
        one = next(one for one in found["providers"] if one["provider"] == "sandbox")
        return one if "last_success_time" in one else None

    found = await until(sandbox, "the success is counted")
    assert found["delivered"] > 0
    [dispatcher] = found["dispatchers"]
    assert "hold" not in dispatcher
    assert set(dispatcher) <= {"dispatcher_id", "report_time"}


async def test_commands_show_statistics_and_providers(admin: Operator, stack: Stack) -> None:
    await send(admin, stack)
    await until(lambda: delivered(admin), "a delivery is counted")
    remote = ("--target", stack.url)
    key = {"CLARION_ADMIN_KEY": admin.secret}
    code, out, err = await stack.run("statistics", *remote, **key)
    assert (code, out.split()[0]) == (0, "CHANNEL"), err
    code, out, err = await stack.run("statistics", "--group-by", "campaign", "--period", "day", "--json")
    assert code == 0, err
    assert any(one["campaign_id"] == 44 for one in json.loads(out)["groups"])
    code, out, err = await stack.run("statistics", "--step", "61", "--json")
    assert (code, "step_seconds: must be a multiple of 60" in err) == (2, True)
    code, out, err = await stack.run("providers", *remote, **key)
    assert (code, "sandbox" in out, " ok " in out) == (0, True, True), err
    code, out, err = await stack.run("providers", "--json")
    assert json.loads(out)["dispatcher_count"] == 1, err
