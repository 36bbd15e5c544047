"""DeliveryService of the admin API: search, history, groups, retries and cancellations, roles."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
import uuid_utils.compat

from server.domain.campaign import Channel
from server.domain.key import Scope, new_secret
from server.store.admin import campaigns, keys, projects
from server.store.pool import Pool
from tests.contract.admin.conftest import Operator
from tests.kit.admin import reason_of
from tests.kit.stack import Stack
from tests.kit.store import a_campaign
from tests.kit.until import until

CAMPAIGN = 4400


class Shop:
    """A separate project, whose campaign has no provider, so that its triggers wait."""

    def __init__(self, http: Any, name: str, secret: str) -> None:
        self._http = http
        self.name = name
        self._headers = {"authorization": f"Bearer {secret}"}

    async def accept(self, user: str) -> str:
        body = {"user": {"external_id": user, "email": f"{user}@example.com"}}
        path = f"/api/client/campaigns/{CAMPAIGN}/trigger"
        answer = await self._http.post(path, json=body, headers=self._headers)
        assert answer.status_code == 204, answer.text
        return str(answer.headers["x-trigger-id"])


@pytest.fixture
async def shop(stack: Stack, pool: Pool, admin: Operator) -> Shop:
    name = f"shop-{uuid.uuid4()}"
    project = await projects.ensure_project(pool, name)
    await campaigns.apply_campaigns(pool, [a_campaign(CAMPAIGN, project_id=project, providers=("absent",))])
    secret = new_secret()
    await keys.create_key(pool, secret, project_id=project, name="till", scopes={Scope.TRIGGER})
    await stack.until_in_force()
    return Shop(admin.http, name, secret)


async def bury(pool: Pool, error: str, *trigger_ids: str) -> None:
    """Make waiting triggers dead letters."""
    for one in map(uuid.UUID, trigger_ids):
        await pool.execute("DELETE FROM queue WHERE trigger_id = $1", one)
        await pool.execute(
            "INSERT INTO attempt (trigger_id, number, provider, outcome, started_at, duration,"
            " provider_message_id, error) VALUES ($1, 1, 'absent', 'dead', now(), 0.1, '', $2)",
            one,
            error,
        )
        await pool.execute("INSERT INTO dead_letter (trigger_id, error) VALUES ($1, $2)", one, error)


async def found(caller: Operator, **params: str) -> list[str]:
    """Return the external IDs of all deliveries that match, page by page."""
    users: list[str] = []
    while True:
        answer = await caller.call("GET", "/deliveries", params=params)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        users += [one["external_id"] for one in page.get("deliveries", [])]
        if "next_page_token" not in page:
            return users
        params["page_token"] = page["next_page_token"]


async def ended(admin: Operator, verb: str, which: dict[str, str]) -> dict[str, Any]:
    """Start an operation, and return it when it has ended."""
    started = await admin.call("POST", f"/deliveries:{verb}", which)
    assert started.status_code == 200, started.text
    operation: dict[str, Any] = started.json()["operation"]
    assert operation["operation_state"] == "running"

    async def is_done() -> bool:
        nonlocal operation
        path = f"/operations/{operation['operation_id']}"
        operation = (await admin.call("GET", path)).json()["operation"]
        return str(operation["operation_state"]) == "done"

    await until(is_done, "the operation is done")
    return operation


async def test_deliveries_are_found_by_each_filter(admin: Operator, pool: Pool, shop: Shop) -> None:
    first, second, third = [await shop.accept(user) for user in ("ann", "bob", "cyd")]
    await bury(pool, "550 <script>alert(1)</script>", second)
    project = {"project": shop.name}
    assert await found(admin, **project) == ["cyd", "bob", "ann"]
    assert await found(admin, page_size="1", **project) == ["cyd", "bob", "ann"]
    assert await found(admin, state="dead", **project) == ["bob"]
    assert await found(admin, state="pending", **project) == ["cyd", "ann"]
    assert await found(admin, state="delivered", **project) == []
    assert await found(admin, external_id="ann", **project) == ["ann"]
    assert await found(admin, address="bob@EXAMPLE.com".replace("EXAMPLE", "example"), **project) == ["bob"]
    assert await found(admin, error="SCRIPT", **project) == ["bob"]
    assert await found(admin, provider="absent", **project) == ["bob"]
    assert await found(admin, provider="other", **project) == []
    assert await found(admin, campaign_id=str(CAMPAIGN), channel="email", **project) == ["cyd", "bob", "ann"]
    assert await found(admin, channel=Channel.TEXT.value, **project) == []
    assert await found(admin, accepted_since="2099-01-01T00:00:00Z", **project) == []
    assert await found(admin, accepted_before="2020-01-01T00:00:00Z", **project) == []
    assert {first, third} <= {
        one["trigger_id"]
        for one in (await admin.call("GET", "/deliveries?page_size=500")).json()["deliveries"]
    }


async def test_one_delivery_has_its_history(admin: Operator, pool: Pool, shop: Shop) -> None:
    waiting, dead = await shop.accept("ann"), await shop.accept("bob")
    await bury(pool, "550 user unknown", dead)
    shown = (await admin.call("GET", f"/deliveries/{waiting}")).json()["delivery"]
    assert (shown["summary"]["state"], shown["summary"]["address"]) == ("pending", "ann@example.com")
    assert (shown["key_name"], shown["waiting"]["waiting_reason"]) == ("till", "no_provider")
    shown = (await admin.call("GET", f"/deliveries/{dead}")).json()["delivery"]
    assert (shown["summary"]["error"], shown["attempts"][0]["outcome"]) == ("550 user unknown", "dead")
    unknown = await admin.call("GET", f"/deliveries/{uuid.uuid4()}")
    assert (unknown.status_code, reason_of(unknown)) == (404, "DELIVERY_NOT_FOUND")


async def test_dead_letters_are_grouped_and_retried_by_filter(
    admin: Operator, pool: Pool, shop: Shop
) -> None:
    one, two, other = [await shop.accept(user) for user in ("ann", "bob", "cyd")]
    await bury(pool, "451 try in 17 s", one)
    await bury(pool, "451 try in 300 s", two)
    await bury(pool, "550 unknown", other)
    project = {"project": shop.name}
    groups = (await admin.call("GET", "/deadLetterGroups", params=project)).json()["dead_letter_groups"]
    assert [(group["error"], group["dead_letters"]) for group in groups] == [
        ("# try in # s", 2),
        ("# unknown", 1),
    ]
    which = {**project, "error": "try in"}
    counted = (await admin.call("POST", "/deliveries:retry", {**which, "dry_run": True})).json()
    assert (counted["retried"], await found(admin, state="dead", **project)) == (2, ["cyd", "bob", "ann"])
    exact = {**project, "error_group": "# try in # s"}
    assert await found(admin, **exact) == ["bob", "ann"]
    counted = (await admin.call("POST", "/deliveries:retry", {**exact, "dry_run": True})).json()
    assert counted["retried"] == 2
    operation = await ended(admin, "retry", which)
    assert (operation["matching"], operation["changed"]) == (2, 2)
    assert operation["filters"] == [f"project: {shop.name}", "error: try in"]
    assert await found(admin, state="dead", **project) == ["cyd"]
    assert "changed" not in await ended(admin, "retry", which)
    events = await pool.fetch(
        "SELECT action, after FROM audit_event WHERE resource = $1 ORDER BY id",
        f"operation/{operation['operation_id']}",
    )
    assert [one["action"] for one in events] == ["operation.start", "deliveries.retry"]
    assert '"count": 2' in events[1]["after"]


async def test_waiting_triggers_are_cancelled(admin: Operator, shop: Shop) -> None:
    one, two, three = [await shop.accept(user) for user in ("ann", "bob", "cyd")]
    cancelled = (await admin.call("POST", "/deliveries:cancel", {"trigger_ids": [one, one]})).json()
    assert cancelled == {"cancelled": 1}
    path = f"/auditEvents?project={shop.name}&action=deliveries.cancel&resource=delivery/{one}"
    assert len((await admin.call("GET", path)).json()["audit_events"]) == 1
    rest = {"project": shop.name}
    counted = (await admin.call("POST", "/deliveries:cancel", {**rest, "dry_run": True})).json()
    assert counted["cancelled"] == 2
    assert (await ended(admin, "cancel", rest))["changed"] == 2
    assert await found(admin, state="cancelled", **rest) == ["cyd", "bob", "ann"]
    assert (
        "cancelled"
        not in (await admin.call("POST", "/deliveries:cancel", {"trigger_ids": [two, three]})).json()
    )


async def test_five_thousand_dead_letters_are_retried_by_filter(
    admin: Operator, pool: Pool, shop: Shop
) -> None:
    project = await pool.fetchval("SELECT id FROM project WHERE name = $1", shop.name)
    await pool.execute(
        "WITH made AS (INSERT INTO trigger (id, project_id, campaign_id, channel, external_id, address,"
        " timezone, locale, user_data, event) SELECT id, $1, $2, 'email', 'many',"
        " 'm@example.com', '', '', '', '' FROM unnest($3::uuid[]) AS id RETURNING id)"
        " INSERT INTO dead_letter (trigger_id, error) SELECT id, 'many' FROM made",
        project,
        CAMPAIGN,
        [
            uuid_utils.compat.uuid7() for _ in range(5000)
        ],  # others would be the newest in lists of all projects
    )
    one, other = await asyncio.gather(
        *(ended(admin, "retry", {"project": shop.name, "external_id": "many"}) for _ in range(2))
    )
    assert (one["matching"], one["changed"] + other.get("changed", 0)) == (5000, 5000)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/deliveries:retry", {}),
        ("POST", "/deliveries:retry", {"dry_run": True}),
        ("POST", "/deliveries:cancel", {"error_group": "x" * 5000}),
        ("GET", "/operations/x", None),
        ("POST", "/operations/x:cancel", {}),
        ("GET", "/operations?page_token=x", None),
        ("POST", "/deliveries:cancel", {"trigger_ids": ["x"]}),
        ("POST", "/deliveries:retry", {"campaign_id": "99999999999999999999"}),
        ("POST", "/deliveries:retry", {"channel": "fax"}),
        ("GET", "/deliveries?page_token=x", None),
        ("GET", "/deliveries?state=lost", None),
        ("GET", "/deliveries?page_size=501", None),
        ("GET", "/deliveries?accepted_since=yesterday", None),
        ("GET", "/deliveries/x", None),
    ],
)
async def test_wrong_requests_are_named(admin: Operator, method: str, path: str, body: object) -> None:
    refused = await admin.call(method, path, body)
    assert (refused.status_code, reason_of(refused)) == (422, "INVALID_REQUEST"), refused.text


async def test_roles_restrict_deliveries(viewer: Operator, demo_admin: Operator, shop: Shop) -> None:
    theirs = await shop.accept("ann")
    assert (await viewer.call("GET", f"/deliveries/{theirs}")).status_code == 200
    for verb in ("retry", "cancel"):
        refused = await viewer.call("POST", f"/deliveries:{verb}", {"trigger_ids": [theirs]})
        assert (refused.status_code, reason_of(refused)) == (403, "ROLE_MISSING")
    assert (await demo_admin.call("GET", f"/deliveries/{theirs}")).status_code == 404
    assert await found(demo_admin, external_id="ann", page_size="500", campaign_id=str(CAMPAIGN)) == []
    nothing = (await demo_admin.call("POST", "/deliveries:cancel", {"trigger_ids": [theirs]})).json()
    assert "cancelled" not in nothing
    hidden = await demo_admin.call("POST", "/deliveries:cancel", {"project": shop.name})
    assert (hidden.status_code, reason_of(hidden)) == (404, "RESOURCE_NOT_FOUND")
    assert (await demo_admin.call("GET", "/backlog")).status_code == 403


async def test_roles_restrict_operations(
    admin: Operator, viewer: Operator, demo_admin: Operator, shop: Shop
) -> None:
    operation = await ended(admin, "retry", {"project": shop.name})
    path = f"/operations/{operation['operation_id']}"
    assert (await viewer.call("GET", path)).status_code == 200
    assert (await demo_admin.call("GET", path)).status_code == 404
    listed = (await demo_admin.call("GET", "/operations?page_size=500")).json().get("operations", [])
    assert operation["operation_id"] not in [one["operation_id"] for one in listed]
    listed = (await admin.call("GET", "/operations?page_size=1")).json()
    assert [one["operation_id"] for one in listed["operations"]] == [operation["operation_id"]]
    refused = [await one.call("POST", f"{path}:cancel", {}) for one in (viewer, demo_admin, admin)]
    assert [(one.status_code, reason_of(one)) for one in refused] == [
        (403, "ROLE_MISSING"),
        (404, "RESOURCE_NOT_FOUND"),
        (422, "RESOURCE_STATE"),
    ]


async def test_backlog_says_why_triggers_wait(admin: Operator, shop: Shop) -> None:
    await shop.accept("ann")

    async def is_shown() -> bool:
        lanes = (await admin.call("GET", "/backlog")).json()["backlog"]
        [lane] = [one for one in lanes if one["providers"] == "absent"]
        return bool(lane["due"]) and lane["waiting"]["waiting_reason"] == "no_provider"

    await until(is_shown, "the backlog is shown")
