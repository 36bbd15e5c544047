"""SuppressionService over REST and the command line: lists, imports, removals, roles and the audit log."""

from __future__ import annotations

import csv
import uuid
from pathlib import Path
from typing import Any

import httpx

from server.store.pool import Pool
from tests.contract.admin.conftest import Operator
from tests.kit.admin import reason_of
from tests.kit.stack import Stack


def an_address() -> str:
    return f"{uuid.uuid4()}@faß.example"


async def add(caller: Operator, *addresses: str, **more: object) -> httpx.Response:
    body = {"project": "demo", "channel": "email", "addresses": addresses, "reason": "asked by phone", **more}
    return await caller.call("POST", "/suppressions:add", body)


async def listed(caller: Operator, **params: str) -> list[str]:
    page = (await caller.call("GET", "/suppressions", params=params)).json()
    return [one["address"] for one in page.get("suppressions", [])]


async def test_added_recipients_are_listed_and_removed(admin: Operator, pool: Pool) -> None:
    one, other = an_address(), an_address()
    assert (await add(admin, one, other, one)).json() == {"added": 2}
    assert (await add(admin, one)).json() == {}
    stored = one.replace("faß", "xn--fa-hia")
    assert await listed(admin, address=one, channel="email") == [stored]
    [found] = (await admin.call("GET", "/suppressions", params={"address": one})).json()["suppressions"]
    assert (found["channel"], found["reason"], "trigger_id" in found) == ("email", "asked by phone", False)
    removed = (await admin.call("POST", "/suppressions:remove", {"address": one})).json()
    assert (removed["removed"], removed["done"]) == (1, True)
    assert await listed(admin, address=one) == []
    assert len(await listed(admin, address=other)) == 1
    actions = await pool.fetch(
        "SELECT action, before->>'address' AS address FROM audit_event WHERE before->>'address' = $1", one
    )
    assert [row["action"] for row in actions] == ["suppressions.remove"]


async def test_each_project_has_its_removals_in_the_log(admin: Operator, pool: Pool) -> None:
    other, address = f"project-{uuid.uuid4()}", an_address()
    await admin.call("POST", "/projects", {"project": other})
    for project in ("demo", other):
        await add(admin, address, project=project)
    removed = (await admin.call("POST", "/suppressions:remove", {"address": address})).json()
    assert removed["removed"] == 2
    rows = await pool.fetch(
        "SELECT name, resource, after->>'removed' AS removed FROM audit_event"
        " JOIN project ON project.id = project_id WHERE before->>'address' = $1",
        address,
    )
    expected = {(name, f"suppressions/{name}", "1") for name in ("demo", other)}
    assert {tuple(row) for row in rows} == expected


async def test_pages_have_every_suppression_once(admin: Operator) -> None:
    reason = f"pages {uuid.uuid4()}"
    addresses = [an_address() for _ in range(5)]
    await add(admin, *addresses, reason=reason)
    found: list[str] = []
    token = ""
    while True:
        params = {"reason": reason, "page_size": "2", "page_token": token}
        page = (await admin.call("GET", "/suppressions", params=params)).json()
        found += [one["address"] for one in page["suppressions"]]
        token = page.get("next_page_token", "")
        if not token:
            break
    assert len(found) == len(set(found)) == 5
    counted = (await admin.call("GET", "/suppressions:count", params={"reason": reason})).json()
    assert (counted["recipients"], counted["counts"][0]["recipients"]) == (5, 5)


async def test_invalid_recipients_are_all_named(admin: Operator) -> None:
    good = an_address()
    refused = await add(admin, good, "not an address", "@")
    assert (refused.status_code, reason_of(refused)) == (422, "INVALID_REQUEST")
    fields = [one["field"] for one in refused.json()["details"][1]["field_violations"]]
    assert fields == ["addresses[1]", "addresses[2]"]
    assert await listed(admin, address=good) == []
    wrong: list[dict[str, Any]] = [
        {"channel": "fax"},
        {"reason": ""},
        {"project": "nowhere"},
        {"addresses": []},
    ]
    for body in wrong:
        assert (await add(admin, good, **body)).status_code in {404, 422}, body
    without_filter: list[dict[str, Any]] = [{}, {"retry": True}, {"channel": "fax"}]
    for body in without_filter:
        empty = await admin.call("POST", "/suppressions:remove", body)
        assert (empty.status_code, reason_of(empty)) == (422, "INVALID_REQUEST")


async def test_roles_and_projects_restrict_suppressions(
    admin: Operator, viewer: Operator, demo_admin: Operator
) -> None:
    other, address = f"project-{uuid.uuid4()}", an_address()
    await admin.call("POST", "/projects", {"project": other})
    await add(admin, address, project=other)
    assert len(await listed(viewer, address=address)) == 1
    assert await listed(demo_admin, address=address) == []
    for refused in (
        await add(viewer, address),
        await viewer.call("POST", "/suppressions:remove", {"address": address}),
    ):
        assert (refused.status_code, reason_of(refused)) == (403, "ROLE_MISSING")
    hidden = await add(demo_admin, address, project=other)
    assert (hidden.status_code, reason_of(hidden)) == (404, "RESOURCE_NOT_FOUND")
    nothing = (await demo_admin.call("POST", "/suppressions:remove", {"address": address})).json()
    assert "removed" not in nothing
    assert len(await listed(admin, address=address)) == 1


async def test_export_can_be_imported(admin: Operator, stack: Stack, tmp_path: Path) -> None:
    reason = f"export {uuid.uuid4()}"
    addresses = [an_address(), f"=cmd-{uuid.uuid4()}@example.com"]
    await add(admin, *addresses, reason=reason)
    target = ("--target", stack.url)
    key = {"CLARION_ADMIN_KEY": admin.secret}
    code, exported, err = await stack.run("suppressions", "export", "--reason", reason, *target, **key)
    assert code == 0, err
    rows = list(csv.DictReader(exported.splitlines()))
    assert {row["reason"] for row in rows} == {reason}
    assert sum(row["address"].startswith("'=cmd-") for row in rows) == 1
    file = tmp_path / "suppressed.csv"
    file.write_text(exported)
    await admin.call("POST", "/suppressions:remove", {"reason": reason})
    words = ("suppressions", "import", str(file), "--project", "demo")
    first = await stack.run(*words, *target, **key)
    again = await stack.run(*words)
    assert first[1] == "added 2 suppressions; 0 existed already\n", first
    assert again[1] == "added 0 suppressions; 2 existed already\n", again
    assert len(await listed(admin, reason=reason)) == 2


async def test_import_names_the_wrong_line(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "wrong.csv"
    file.write_text("channel,address\nemail,a@example.com\nemail,\n")
    code, _, err = await stack.run("suppressions", "import", str(file), "--project", "demo")
    assert (code, "line 3: address is missing" in err) == (2, True)


async def test_import_names_all_wrong_rows(stack: Stack, tmp_path: Path) -> None:
    """The rows of a channel and reason are one call: those of other calls are added, and also checked."""
    file = tmp_path / "wrong.csv"
    wrong = "".join(f"text,{number}\n" for number in range(25))
    file.write_text(f"channel,address,reason\nemail,{an_address()},good\nemail,no-at\nfax,1,\n{wrong}")
    code, _, err = await stack.run("suppressions", "import", str(file), "--project", "demo")
    assert code == 2
    assert 'line 3: address "no-at": is not an email address' in err
    assert 'line 4: channel "fax": ' in err
    assert 'line 5: address "0": ' in err
    assert err.count("\nline ") == 20
    assert "and 7 more\nadded 1 suppression; " in err
