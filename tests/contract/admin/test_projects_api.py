"""ProjectService over REST: reads, changes, roles, etags and the audit log."""

from __future__ import annotations

import json
import uuid

from server.domain.key import new_secret
from server.domain.operator import new_admin_secret
from server.store.pool import Pool
from tests.contract.admin.conftest import Operator
from tests.kit.admin import reason_of
from tests.kit.until import until


def a_name() -> str:
    return f"project-{uuid.uuid4()}"


async def test_project_can_be_created_read_and_changed(admin: Operator, pool: Pool) -> None:
    name = a_name()
    made = await admin.call("POST", "/projects", {"project": name, "timezone": "Asia/Tokyo"})
    assert made.status_code == 200, made.text
    read = (await admin.call("GET", f"/projects/{name}")).json()["project"]
    assert read == made.json()["project"]
    assert (read["timezone"], "burst" in read) == ("Asia/Tokyo", False)
    change = {"requests_per_second": 5, "burst": 7, "etag": read["etag"]}
    changed = (await admin.call("PATCH", f"/projects/{name}", change)).json()["project"]
    assert (changed["requests_per_second"], changed["burst"], changed["timezone"]) == (5, 7, "Asia/Tokyo")
    cleared = await admin.call("PATCH", f"/projects/{name}", {"update_mask": "burst"})
    assert "burst" not in cleared.json()["project"]
    rows = await pool.fetch("SELECT * FROM audit_event WHERE resource = $1 ORDER BY id", f"project/{name}")
    assert [row["action"] for row in rows] == ["project.create", "project.update", "project.update"]
    assert json.loads(rows[1]["after"])["burst"] == 7
    assert json.loads(rows[1]["before"])["burst"] is None
    assert all(row["address"] == "127.0.0.1" and row["request_id"] for row in rows)


async def test_stale_etag_changes_nothing(admin: Operator) -> None:
    name = a_name()
    old = (await admin.call("POST", "/projects", {"project": name})).json()["project"]["etag"]
    assert (await admin.call("PATCH", f"/projects/{name}", {"burst": 3, "etag": old})).status_code == 200
    stale = await admin.call("PATCH", f"/projects/{name}", {"burst": 4, "etag": old})
    assert (stale.status_code, reason_of(stale)) == (409, "ETAG_MISMATCH")
    assert (await admin.call("GET", f"/projects/{name}")).json()["project"]["burst"] == 3


async def test_names_are_unique_and_checked(admin: Operator) -> None:
    twice = await admin.call("POST", "/projects", {"project": "demo"})
    assert (twice.status_code, reason_of(twice)) == (409, "RESOURCE_EXISTS")
    for body in ({}, {"project": "a b"}, {"project": "x", "timezone": "Mars/Base"}):
        refused = await admin.call("POST", "/projects", body)
        assert (refused.status_code, reason_of(refused)) == (422, "INVALID_REQUEST"), body


async def test_pages_have_every_project_once(admin: Operator) -> None:
    for _ in range(3):
        await admin.call("POST", "/projects", {"project": a_name()})
    names: list[str] = []
    token = ""
    while True:
        page = (await admin.call("GET", f"/projects?page_size=2&page_token={token}")).json()
        assert "projects" in page, page
        names += [one["project"] for one in page["projects"]]
        token = page.get("next_page_token", "")
        if not token:
            break
    assert len(names) == len(set(names)) >= 4
    damaged = await admin.call("GET", "/projects?page_token=abc")
    assert (damaged.status_code, reason_of(damaged)) == (422, "INVALID_REQUEST")


async def test_roles_are_required(admin: Operator, viewer: Operator, demo_admin: Operator) -> None:
    assert (await viewer.call("GET", "/projects/demo")).status_code == 200
    for method, path, body in (
        ("POST", "/projects", {"project": a_name()}),
        ("PATCH", "/projects/demo", {"burst": 3}),
    ):
        refused = await viewer.call(method, path, body)
        assert (refused.status_code, reason_of(refused)) == (403, "ROLE_MISSING")
    others = a_name()
    await admin.call("POST", "/projects", {"project": others})
    listed = (await demo_admin.call("GET", "/projects")).json()["projects"]
    assert [one["project"] for one in listed] == ["demo"]
    hidden = await demo_admin.call("GET", f"/projects/{others}")
    assert (hidden.status_code, reason_of(hidden)) == (404, "RESOURCE_NOT_FOUND")
    refused = await demo_admin.call("POST", "/projects", {"project": a_name()})
    assert (refused.status_code, reason_of(refused)) == (403, "ROLE_MISSING")


async def test_only_admin_credentials_work(admin: Operator, viewer: Operator) -> None:
    for secret in (new_secret(), new_admin_secret(), "nonsense"):
        refused = await Operator(viewer.http, secret).call("GET", "/projects")
        assert (refused.status_code, reason_of(refused)) == (401, "CREDENTIALS_INVALID")
    trigger = await viewer.http.get(
        "/api/client/campaigns", headers={"authorization": f"Bearer {admin.secret}"}
    )
    assert trigger.status_code == 401


async def test_session_ends_with_its_key(admin: Operator, viewer: Operator) -> None:
    made = (await viewer.call("POST", "/sessions", {"user_agent": "a browser"})).json()
    session = Operator(viewer.http, made["token"])
    caller = (await session.call("GET", "/caller")).json()
    assert (caller["kind"], caller["grants"]) == ("person", [{"role": "viewer"}])
    assert (await session.call("POST", "/sessions", {})).status_code == 401
    keys = (await admin.call("GET", "/adminKeys")).json()["admin_keys"]
    [key] = [one for one in keys if viewer.secret.endswith(one["secret_hint"][-4:])][:1]
    revoked = await admin.call("POST", f"/adminKeys/{key['admin_key_id']}:revoke", {})
    assert revoked.status_code == 200

    async def rejected() -> bool:
        answers = [await one.call("GET", "/caller") for one in (viewer, session)]
        return [one.status_code for one in answers] == [401, 401]

    await until(rejected, "the key and its session are rejected")


async def test_grants_are_limited_to_those_of_the_caller(demo_admin: Operator) -> None:
    for grant in ({"role": "admin"}, {"role": "viewer", "project": ""}):
        refused = await demo_admin.call("POST", "/adminKeys", {"display_name": "x", "grants": [grant]})
        assert (refused.status_code, reason_of(refused)) == (403, "ROLE_MISSING")
    made = await demo_admin.call(
        "POST", "/adminKeys", {"display_name": "x", "grants": [{"role": "author", "project": "demo"}]}
    )
    assert made.status_code == 200


async def test_grants_do_not_reveal_other_projects(admin: Operator, demo_admin: Operator) -> None:
    """A project that the caller may not see is answered like one that does not exist."""
    await admin.call("POST", "/projects", {"project": "hidden"})
    found = []
    for name in ("hidden", "absent"):
        grant = {"role": "viewer", "project": name}
        answer = await demo_admin.call("POST", "/adminKeys", {"display_name": "x", "grants": [grant]})
        found.append((answer.status_code, answer.text.replace(name, "NAME")))
    assert found[0] == found[1]
    assert found[0][0] == 422


async def test_content_is_kept_as_long_as_the_project_says(admin: Operator, pool: Pool) -> None:
    name = a_name()
    await admin.call("POST", "/projects", {"project": name})
    times = [{"channel": "push", "days": 60}, {"channel": "email", "days": 7}]
    changed = await admin.call("PATCH", f"/projects/{name}", {"content_retention": times})
    assert changed.json()["project"]["content_retention"] == times[::-1]
    row = await pool.fetchrow("SELECT * FROM project WHERE name = $1", name)
    assert row is not None
    assert (json.loads(row["content_days"]), row["content_days_before"]) == ({"email": 7, "push": 60}, "{}")
    kept = await pool.fetchval(
        "SELECT days_of_content(project, 'email', 30) FROM project WHERE name = $1", name
    )
    assert kept == 30  # for a day
    after = await pool.fetchval(
        "SELECT after FROM audit_event WHERE resource = $1 ORDER BY id DESC LIMIT 1", f"project/{name}"
    )
    assert json.loads(after)["content_retention"] == {"email": 7, "push": 60}
    reset = await admin.call("PATCH", f"/projects/{name}", {"update_mask": "content_retention"})
    assert "content_retention" not in reset.json()["project"]


async def test_wrong_times_for_content_are_named(admin: Operator) -> None:
    for times, field in (
        ([{"channel": "email", "days": 0}], "content_retention[0].days"),
        ([{"channel": "email", "days": 3651}], "content_retention[0].days"),
        ([{"days": 3}], "content_retention[0].channel"),
        ([{"channel": "email", "days": 3}, {"channel": "email", "days": 4}], "content_retention[1].channel"),
    ):
        refused = await admin.call("PATCH", "/projects/demo", {"content_retention": times})
        assert refused.status_code == 422, refused.text
        [violation] = refused.json()["details"][1]["field_violations"]
        assert violation["field"] == field
