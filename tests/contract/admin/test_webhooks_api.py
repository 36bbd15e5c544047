"""WebhookService over REST: endpoints, the log, retries, replays and roles."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest

from server.store.pool import Pool
from tests.contract.admin.conftest import Operator
from tests.kit.admin import reason_of

URL = "https://8.8.8.8/events?token=hush"


async def made(caller: Operator, **more: object) -> dict[str, Any]:
    created = await caller.call("POST", "/webhooks", {"project": "demo", "url": URL, **more})
    assert created.status_code == 200, created.text
    body: dict[str, Any] = created.json()
    return body


@pytest.fixture
async def endpoint(admin: Operator, pool: Pool) -> Any:
    """A disabled endpoint of the project demo, so that nothing is sent."""
    one = (await made(admin, events=["trigger.dead"]))["webhook"]
    await admin.call("POST", f"/webhooks/{one['webhook_id']}:disable", {})
    yield one
    await admin.call("POST", f"/webhooks/{one['webhook_id']}:delete", {})


async def message(pool: Pool, endpoint_id: str, *, failed: bool, age: float = 0) -> uuid.UUID:
    """Store a message that was delivered or given up."""
    now = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=age)
    number: uuid.UUID = await pool.fetchval(
        "INSERT INTO webhook_message (webhook_id, type, body, created_at, failed_at)"
        " VALUES ($1, 'trigger.dead', '{}', $2, $3) RETURNING id",
        uuid.UUID(endpoint_id),
        now,
        now if failed else None,
    )
    await pool.execute(
        "INSERT INTO webhook_attempt VALUES ($1, 1, $2, 500, $3, 0.1, $4, 'oops')",
        number,
        "dead" if failed else "delivered",
        now,
        "HTTP 500" if failed else "",
    )
    return number


async def test_endpoint_can_be_changed_and_deleted(admin: Operator, pool: Pool) -> None:
    created = await made(admin)
    one = created["webhook"]
    path = f"/webhooks/{one['webhook_id']}"
    assert created["secret"].startswith("whsec_")
    assert len(one["events"]) == 4
    change = {"events": ["trigger.dead"], "etag": one["etag"]}
    changed = (await admin.call("PATCH", path, change)).json()["webhook"]
    assert changed["events"] == ["trigger.dead"]
    stale = await admin.call("PATCH", path, change)
    assert (stale.status_code, reason_of(stale)) == (409, "ETAG_MISMATCH")
    rotated = (await admin.call("POST", f"{path}:rotateSecret", {"overlap": "3600s"})).json()
    assert rotated["secret"] != created["secret"]
    assert "previous_secret_until" in rotated["webhook"]
    disabled = (await admin.call("POST", f"{path}:disable", {})).json()["webhook"]
    assert (disabled["state"], disabled["disabled_because"]) == ("disabled", "by hand")
    tested = await admin.call("POST", f"{path}:test", {})
    assert (tested.status_code, reason_of(tested)) == (422, "RESOURCE_STATE")
    assert (await admin.call("POST", f"{path}:delete", {})).status_code == 200
    assert (await admin.call("GET", path)).status_code == 404
    rows = await pool.fetch(
        "SELECT * FROM audit_event WHERE resource = $1 ORDER BY id", f"webhook/{one['webhook_id']}"
    )
    assert [row["action"].removeprefix("webhook.") for row in rows] == [
        "create",
        "update",
        "rotate_secret",
        "disable",
        "delete",
    ]
    assert "hush" not in str(rows)
    assert "whsec" not in str(rows)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"url": "ftp://8.8.8.8/"}, "url"),
        ({"events": ["trigger.nothing"]}, "events[0]"),
        ({"url": ""}, "url"),
    ],
)
async def test_invalid_endpoint_is_refused(admin: Operator, body: dict[str, object], field: str) -> None:
    refused = await admin.call("POST", "/webhooks", {"project": "demo", "url": URL, **body})
    assert (refused.status_code, reason_of(refused)) == (422, "INVALID_REQUEST")
    assert refused.json()["details"][1]["field_violations"][0]["field"] == field


async def test_messages_are_listed_retried_and_replayed(
    admin: Operator, pool: Pool, endpoint: dict[str, Any]
) -> None:
    number = endpoint["webhook_id"]
    failed, delivered = await message(pool, number, failed=True), await message(pool, number, failed=False)
    old = await message(pool, number, failed=False, age=7200)
    params = {"webhook_id": number, "page_size": "2"}
    page = (await admin.call("GET", "/webhookMessages", params=params)).json()
    rest = (
        await admin.call("GET", "/webhookMessages", params={**params, "page_token": page["next_page_token"]})
    ).json()
    listed = [one["message_id"] for one in page["webhook_messages"] + rest["webhook_messages"]]
    assert listed == [str(one) for one in (delivered, failed, old)]
    assert "next_page_token" not in rest
    only = (
        await admin.call("GET", "/webhookMessages", params={"webhook_id": number, "failed": "true"})
    ).json()
    [shown] = only["webhook_messages"]
    assert (shown["message_state"], shown["webhook_attempts"][0]["status"]) == ("dead", 500)
    refused = await admin.call("POST", "/webhookMessages:retry", {"webhook_id": number})
    assert (refused.status_code, reason_of(refused)) == (422, "RESOURCE_STATE")
    await pool.execute("UPDATE webhook SET state = 'active' WHERE id = $1", uuid.UUID(number))
    retried = (await admin.call("POST", "/webhookMessages:retry", {"message_ids": [str(failed)]})).json()
    assert (retried["retried"], retried["done"]) == (1, True)
    since = (dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)).isoformat()
    replayed = (await admin.call("POST", f"/webhooks/{number}:replay", {"since": since})).json()
    assert replayed["done"]
    queued = await pool.fetch("SELECT message_id FROM webhook_queue WHERE webhook_id = $1", uuid.UUID(number))
    attempted = await pool.fetch(
        "SELECT message_id FROM webhook_attempt WHERE number = 2 AND message_id = ANY($1)",
        [failed, delivered, old],
    )
    assert {row["message_id"] for row in (*queued, *attempted)} == {failed, delivered}
    for action in ("webhook_messages.retry", "webhook.replay"):
        events = (
            await admin.call("GET", "/auditEvents", params={"project": "demo", "action": action})
        ).json()
        assert [one["project"] for one in events["audit_events"]][:1] == ["demo"], action


async def test_bad_retries_and_replays_are_refused(admin: Operator, endpoint: dict[str, Any]) -> None:
    number = endpoint["webhook_id"]
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("/webhookMessages:retry", {}),
        ("/webhookMessages:retry", {"message_ids": [number], "webhook_id": number}),
        ("/webhookMessages:retry", {"message_ids": ["x"]}),
        (f"/webhooks/{number}:replay", {}),
        (f"/webhooks/{number}:replay", {"since": "2026-01-01T00:00:00Z", "after": "nonsense"}),
    ]
    for path, body in wrong:
        refused = await admin.call("POST", path, body)
        assert refused.status_code == 422, (path, body, refused.text)


async def test_roles_restrict_webhooks(
    admin: Operator, viewer: Operator, demo_admin: Operator, endpoint: dict[str, Any]
) -> None:
    path = f"/webhooks/{endpoint['webhook_id']}"
    assert (await viewer.call("GET", path)).status_code == 200
    for verb in ("rotateSecret", "enable", "disable", "delete", "test"):
        refused = await viewer.call("POST", f"{path}:{verb}", {})
        assert (refused.status_code, reason_of(refused)) == (403, "ROLE_MISSING")
    other = f"project-{uuid.uuid4()}"
    await admin.call("POST", "/projects", {"project": other})
    theirs = (await made(admin, project=other))["webhook"]["webhook_id"]
    for method, hidden in (("GET", f"/webhooks/{theirs}"), ("POST", f"/webhooks/{theirs}:delete")):
        refused = await demo_admin.call(method, hidden, {} if method == "POST" else None)
        assert (refused.status_code, reason_of(refused)) == (404, "RESOURCE_NOT_FOUND")
    listed = (await demo_admin.call("GET", "/webhooks")).json()["webhooks"]
    assert {one["project"] for one in listed} == {"demo"}
