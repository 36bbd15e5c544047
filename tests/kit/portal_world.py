"""One of everything that the portal shows, with markup in every text that comes from outside."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from clarion.admin.v1 import api_key_pb2, campaign_pb2, delivery_pb2, operator_pb2, project_pb2, webhook_pb2
from portal.pages import PAGES
from server.admin.client import LocalAdmin
from server.domain.key import Scope, new_secret
from server.store.admin import keys, projects
from server.store.pool import Pool
from tests.kit.stack import EXAMPLE, Stack

__all__ = ["World", "build_world", "end_world", "mark"]

_SCRIPT = "<script>alert('{}')</script><img src=x onerror=alert()>"
_OF_ADMIN_KEY = "/access/keys/{key_id}/revoke"
_WAITS = 77
"""A campaign whose only provider no dispatcher has, so that its triggers wait."""
_MANAGED = 78
"""A campaign that is managed by a file."""
_BREAKER = """
    INSERT INTO server_process (id, seen_at, role, providers)
    VALUES ($1, now() + interval '1 hour', 'dispatcher', $2::text::json)
"""
_ATTEMPT = """
    INSERT INTO attempt
        (trigger_id, number, provider, outcome, started_at, duration, provider_message_id, error)
    VALUES ($1, $2, $3, $4, now(), 0.1, $5, $6)
"""
_SUPPRESSED = (
    "INSERT INTO suppression VALUES ((SELECT id FROM project WHERE name = $1), 'email', $2, $3, $4, $5)"
)
_WEBHOOK_MESSAGE = """
    INSERT INTO webhook_message (webhook_id, trigger_id, type, body, failed_at)
    VALUES ($1, $2, $3, '{}', now()) RETURNING id
"""
_WEBHOOK_ATTEMPT = "INSERT INTO webhook_attempt VALUES ($1, 1, 'dead', 500, now(), 0.1, $2, $3)"
_AUDIT = """
    INSERT INTO audit_event (actor_kind, actor, action, resource, before, after, address, request_id)
    VALUES ('key', $1, $2, $3, $4::text::jsonb, $5::text::jsonb, $6, $7)
"""
_SESSION = """
    INSERT INTO operator_session (id, token_hash, name, grants, user_agent, expires_at)
    VALUES ($1, $2, $3, '[{"role": "viewer", "project_id": null}]', $4, now() + interval '1 hour')
"""


def mark(name: str) -> str:
    """Return markup that would run if a page did not escape it."""
    return _SCRIPT.format(name)


@dataclass(frozen=True)
class World:
    """What was made.

    Attributes:
        project: The project of all of it.
        ids: The values of the variables in the paths of pages.
        marks: The texts that pages must show.
    """

    project: str
    ids: Mapping[str, str]
    admin_key_id: str
    marks: frozenset[str]

    def address(self, path: str, action: str = "") -> str:
        """Return the address of a page, by the path with its variables."""
        if path == _OF_ADMIN_KEY:
            path = path.replace("{key_id}", self.admin_key_id)
        values = {**self.ids, "action": action}
        found = re.sub(r"\{(\w+)(?::\w+)?\}", lambda variable: values[variable[1]], path)
        needs_filter = path in ("/deliveries/all/{action}", "/suppressions/remove")
        return f"{found}?project={self.project}" if needs_filter else found

    def pages(self, *, forms: bool = False) -> list[tuple[str, str]]:
        """Return the paths and addresses of all pages that are not streams; a page with actions, for each."""
        return [
            (page.path, self.address(page.path, action))
            for page in PAGES
            if not page.path.startswith("/live/") and (page.has_form or not forms)
            for action in _actions(page.path, page.serve)
        ]


def _actions(path: str, serve: Any) -> list[str]:
    return list(serve.__globals__["_ACTIONS"]) if "{action}" in path else [""]


async def build_world(stack: Stack, pool: Pool, local: LocalAdmin, http: httpx.AsyncClient) -> World:
    """Make one of everything, in its own project, and hold sending; see `end_world`."""
    name = f"world-{uuid.uuid4().hex[:8]}"
    await local.call("projects", "CreateProject", project_pb2.CreateProjectRequest(project=name))
    grants = [operator_pb2.Grant(role="viewer")]
    made_key = await local.call(
        "admin_keys",
        "CreateAdminKey",
        operator_pb2.CreateAdminKeyRequest(display_name=mark("admin key"), grants=grants),
    )
    api_key = await local.call(
        "api_keys",
        "CreateApiKey",
        api_key_pb2.CreateApiKeyRequest(
            project=name, display_name=mark("key"), kind="live", scopes=["trigger"]
        ),
    )
    await _campaign(local, pool, name)
    project_id = await projects.ensure_project(pool, name)
    secret = new_secret()
    await keys.create_key(pool, secret, project_id=project_id, name=mark("key"), scopes={Scope.TRIGGER})
    await stack.until_in_force()
    waiting, dead = [await _accept(http, secret) for _ in range(2)]
    await pool.execute("UPDATE campaign SET providers = '{sandbox}' WHERE project_id = $1", project_id)
    await _bury(pool, dead)
    session_id = uuid.uuid4()
    await pool.execute(_SESSION, session_id, uuid.uuid4().bytes * 2, mark("person"), mark("browser"))
    await _suppress(pool, name, dead)
    await _audit(pool)
    await _providers(pool, dead)
    await pool.execute("UPDATE sending SET held_at = now(), held_by = $1, reason = $2", *map(mark, _OF_HOLD))
    return World(
        name,
        {
            "name": name,
            "project": name,
            "campaign_id": str(_WAITS),
            "version": "1",
            "key_id": api_key.api_key.key_id,
            "session_id": str(session_id),
            "webhook_id": await _webhook(pool, local, name, dead),
            "trigger_id": str(dead),
            "operation_id": await _operation(pool, local, name),
            "waiting": str(waiting),
        },
        made_key.admin_key.admin_key_id,
        frozenset(map(mark, _SHOWN)),
    )


_OF_HOLD = ("holder", "reason of hold")
_SHOWN = (
    *_OF_HOLD,
    *("admin key", "key", "person", "browser", "campaign", "subject", "text", "html", "file", "author"),
    *("user", "address", "attempt", "message of provider", "provider of attempt", "filter"),
    *("actor of operation", "suppressed", "reason", "suppressor", "webhook", "disabled", "event type"),
    *("webhook error", "webhook answer", "actor", "action", "resource", "before", "after"),
    *("provider", "breaker", "error of provider"),
)


async def end_world(pool: Pool) -> None:
    """Delete what would change other tests."""
    await pool.execute("DELETE FROM server_process WHERE seen_at > now() + interval '10 minutes'")
    await pool.execute("DELETE FROM provider_result WHERE provider LIKE '<%'")
    await pool.execute("UPDATE sending SET held_at = NULL, held_by = '', reason = ''")


async def _campaign(local: LocalAdmin, pool: Pool, project: str) -> None:
    template = campaign_pb2.CampaignTemplate(
        locale="default", subject=mark("subject"), text=mark("text"), html=mark("html")
    )
    content = campaign_pb2.CampaignContent(
        display_name=mark("campaign"),
        campaign_channel="email",
        providers=["sandbox"],
        sender="a@test.com",
        templates=[template],
    )
    for number in (_WAITS, _MANAGED):
        request = campaign_pb2.CreateCampaignRequest(
            project=project, campaign_id=str(number), content=content
        )
        await local.call("campaigns", "CreateCampaign", request)
    number = await projects.ensure_project(pool, project)
    await pool.execute(
        "UPDATE campaign_version SET created_by = $2 WHERE project_id = $1", number, mark("author")
    )
    await pool.execute("UPDATE campaign SET providers = '{absent}' WHERE project_id = $1", number)
    await pool.execute(
        "UPDATE campaign SET managed_by = $2 WHERE project_id = $1 AND id = $3",
        number,
        mark("file"),
        _MANAGED,
    )


async def _accept(http: httpx.AsyncClient, secret: str) -> uuid.UUID:
    body = {**EXAMPLE, "user": {**EXAMPLE["user"], "external_id": mark("user")}}
    answer = await http.post(
        f"/api/client/campaigns/{_WAITS}/trigger", json=body, headers={"authorization": f"Bearer {secret}"}
    )
    assert answer.status_code == 204, answer.text
    return uuid.UUID(answer.headers["x-trigger-id"])


async def _bury(pool: Pool, trigger_id: uuid.UUID) -> None:
    """Make a trigger a dead letter, after two attempts."""
    await pool.execute("UPDATE trigger SET address = $2 WHERE id = $1", trigger_id, mark("address"))
    await pool.execute("DELETE FROM queue WHERE trigger_id = $1", trigger_id)
    rows = (
        (1, mark("provider of attempt"), "delivered", mark("message of provider"), ""),
        (2, "absent", "dead", "", mark("attempt")),
    )
    for row in rows:
        await pool.execute(_ATTEMPT, trigger_id, *row)
    await pool.execute(
        "INSERT INTO dead_letter (trigger_id, error) VALUES ($1, $2)", trigger_id, mark("dead")
    )


async def _operation(pool: Pool, local: LocalAdmin, project: str) -> str:
    """Start an operation that changes nothing."""
    request = delivery_pb2.RetryDeliveriesRequest(project=project, error_group=mark("filter"))
    started = (await local.call("deliveries", "RetryDeliveries", request)).operation
    await pool.execute(
        "UPDATE bulk_operation SET actor = $2 WHERE id = $1",
        uuid.UUID(started.operation_id),
        mark("actor of operation"),
    )
    return str(started.operation_id)


async def _suppress(pool: Pool, project: str, trigger_id: uuid.UUID) -> None:
    texts = mark("suppressed"), mark("reason"), mark("suppressor")
    await pool.execute(_SUPPRESSED, project, *texts, trigger_id)


async def _audit(pool: Pool) -> None:
    before, after = (json.dumps({one: mark(one)}) for one in ("before", "after"))
    texts = mark("actor"), mark("action"), mark("resource"), before, after, "127.0.0.1", mark("request")
    await pool.execute(_AUDIT, *texts)


async def _providers(pool: Pool, trigger_id: uuid.UUID) -> None:
    """Add a dispatcher whose provider fails."""
    status = {mark("provider"): {"hold": "breaker", "wait": 5, "error": mark("breaker")}}
    await pool.execute(_BREAKER, uuid.uuid4(), json.dumps(status))
    await pool.execute(
        "INSERT INTO provider_result VALUES ($1, $2, now(), now(), 7, $3)",
        mark("provider"),
        mark("error of provider"),
        trigger_id,
    )


async def _webhook(pool: Pool, local: LocalAdmin, project: str, trigger_id: uuid.UUID) -> str:
    request = webhook_pb2.CreateWebhookRequest(
        project=project, url="https://8.8.8.8/events", events=["trigger.dead"]
    )
    made = (await local.call("webhooks", "CreateWebhook", request)).webhook
    number = uuid.UUID(made.webhook_id)
    await pool.execute(
        "UPDATE webhook SET url = $2, state = 'disabled', disabled_because = $3 WHERE id = $1",
        number,
        f"https://8.8.8.8/{mark('webhook')}",
        mark("disabled"),
    )
    message = await pool.fetchval(_WEBHOOK_MESSAGE, number, trigger_id, mark("event type"))
    await pool.execute(_WEBHOOK_ATTEMPT, message, mark("webhook error"), mark("webhook answer"))
    return str(made.webhook_id)
