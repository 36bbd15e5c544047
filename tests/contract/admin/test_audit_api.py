"""AuditService over REST and the command line: filters, pages, roles, plans, and export."""

from __future__ import annotations

import csv
import datetime as dt
import json
import uuid

from server.store.admin import audit as store
from server.store.pool import Pool
from tests.contract.admin.conftest import Operator
from tests.kit.admin import reason_of
from tests.kit.stack import Stack

PATH = "/auditEvents"


async def a_project(admin: Operator) -> str:
    """Create a project and change it: two audit events."""
    name = f"audited-{uuid.uuid4().hex[:10]}"
    await admin.call("POST", "/projects", {"project": name})
    changed = {"timezone": "Europe/Berlin", "update_mask": "timezone"}
    answer = await admin.call("PATCH", f"/projects/{name}", changed)
    assert answer.status_code == 200, answer.text
    return name


async def found(caller: Operator, **params: str) -> list[dict[str, str]]:
    answer = await caller.call("GET", PATH, params=params)
    assert answer.status_code == 200, answer.text
    events: list[dict[str, str]] = answer.json().get("audit_events", [])
    return events


async def test_changes_are_found_by_each_filter(admin: Operator) -> None:
    name = await a_project(admin)
    update, create = await found(admin, resource=f"project/{name}")
    assert (create["action"], update["action"]) == ("project.create", "project.update")
    assert (update["project"], update["actor"], update["actor_kind"]) == (name, "a test's admin", "robot")
    assert "before_json" not in create
    assert json.loads(update["before_json"])["timezone"] == "UTC"
    assert json.loads(update["after_json"])["timezone"] == "Europe/Berlin"
    moment = update["occur_time"]
    for params, ids in (
        ({"project": name}, [update, create]),
        ({"project": name, "action": "project.update"}, [update]),
        ({"project": name, "actor": "a test's admin"}, [update, create]),
        ({"project": name, "actor": "nobody"}, []),
        ({"project": name, "since": moment}, [update]),
        ({"project": name, "before": moment}, [create]),
        ({"resource": f"project/{name}", "before": "2020-01-01T00:00:00Z"}, []),
    ):
        assert await found(admin, **params) == ids, params


async def test_pages_have_every_change_once(admin: Operator) -> None:
    name = await a_project(admin)
    await admin.call("PATCH", f"/projects/{name}", {"timezone": "UTC", "update_mask": "timezone"})
    actions, token = [], ""
    while True:
        params = {"project": name, "page_size": "1", "page_token": token}
        page = (await admin.call("GET", PATH, params=params)).json()
        actions += [one["action"] for one in page["audit_events"]]
        token = page.get("next_page_token", "")
        if not token:
            break
    assert actions == ["project.update", "project.update", "project.create"]
    other = await admin.call("GET", PATH, params={"project": "demo", "page_token": "x"})
    assert (other.status_code, reason_of(other)) == (422, "INVALID_REQUEST")


async def test_roles_and_projects_restrict_the_log(
    admin: Operator, viewer: Operator, demo_admin: Operator
) -> None:
    name = await a_project(admin)
    denied = await viewer.call("GET", PATH)
    assert (denied.status_code, reason_of(denied)) == (403, "ROLE_MISSING")
    hidden = await demo_admin.call("GET", PATH, params={"project": name})
    assert (hidden.status_code, reason_of(hidden)) == (404, "RESOURCE_NOT_FOUND")
    assert await found(demo_admin, resource=f"project/{name}") == []
    assert {one.get("project") for one in await found(demo_admin)} <= {"demo"}
    assert any("project" not in one for one in await found(admin, action="admin_key.create"))


async def test_changes_are_exported_as_csv(admin: Operator, stack: Stack) -> None:
    name = await a_project(admin)
    words = ("--target", stack.url, "--project", name)
    code, out, err = await stack.run("audit", "export", *words, CLARION_ADMIN_KEY=admin.secret)
    assert code == 0, err
    rows = list(csv.DictReader(out.splitlines()))
    assert [row["action"] for row in rows] == ["project.update", "project.create"]
    code, out, err = await stack.run("audit", "list", *words, "--json", CLARION_ADMIN_KEY=admin.secret)
    assert code == 0, err
    assert [one["resource"] for one in json.loads(out)] == [f"project/{name}"] * 2


async def test_no_filter_scans_the_log(pool: Pool) -> None:
    """A hundred thousand changes that do not match do not slow down a search."""
    now = dt.datetime.now(dt.UTC)
    nothing = {
        "projects": None,
        "actor": None,
        "action": None,
        "resource": None,
        "since": None,
        "until": None,
    }
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(
            "INSERT INTO audit_event (occurred_at, actor_kind, actor, action, project_id, resource, address, "
            "request_id) SELECT now() - interval '1 day', 'robot', 'r', 'a', 1, 'x/' || n % 100, '', '' "
            "FROM generate_series(1, 100000) AS n"
        )
        await connection.execute("ANALYZE audit_event")
        for field, value in (
            ("projects", [-1]),
            ("actor", "none"),
            ("action", "none"),
            ("resource", "none"),
            ("since", now + dt.timedelta(days=1)),
            ("until", now - dt.timedelta(days=9000)),
        ):
            query, *arguments = store._SQL["list"](
                **{**nothing, field: value}, last_at=None, last_id=None, limit=101
            )
            plan = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}", *arguments)
            top = json.loads(plan)[0]["Plan"]
            assert top["Shared Hit Blocks"] + top["Shared Read Blocks"] < 1000, f"{field}: {plan}"
        await transaction.rollback()
