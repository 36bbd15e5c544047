"""The message of a delivery, rendered again."""

from __future__ import annotations

import json
import uuid
from typing import Any

import httpx
import pytest
import uuid_utils.compat

from server.admin.client import LocalAdmin
from server.domain.key import Scope, new_secret
from server.store.admin import keys, projects
from server.store.pool import Pool
from tests.contract.admin.conftest import Operator
from tests.contract.admin.test_campaign_drafts import Drafts, refusal
from tests.kit.admin import create_admin_key
from tests.kit.stack import Stack

CODE = "one-time code 4711"


class Shop(Drafts):
    """A project with campaigns, and a key to trigger them."""

    secret: str = ""

    async def deliver(self, stack: Stack, number: int = 7, kind: str = "email", retain: str = "") -> str:
        """Trigger a campaign, wait until its message was sent, and return the trigger's ID."""
        await stack.until_in_force()
        address = {"email": "zoe@example.com", "text": "+12345678900", "push": "DEVICE_TOKEN"}
        field = {"text": "phone", "push": "device_token"}.get(kind, kind)
        user = {"external_id": "zoe", field: address[kind], "locale": "en"}
        answer = await self.admin.http.post(
            f"/api/client/campaigns/{number}/trigger",
            json={"user": user, "event": {"name": f"<Zoe> {CODE}"}, "retain": retain},
            headers={"authorization": f"Bearer {self.secret}"},
        )
        assert answer.status_code == 204, answer.text
        trigger_id = answer.headers["x-trigger-id"]
        await stack.delivered(kind, trigger_id)
        return str(trigger_id)

    async def message(self, trigger_id: str) -> httpx.Response:
        return await self.admin.call("GET", f"/deliveries/{trigger_id}/message")

    async def content(self, number: int = 7) -> dict[str, Any]:
        found = (await self.admin.call("GET", self.path(number))).json()
        return dict(found["campaign"]["content"])


@pytest.fixture
async def shop(admin: Operator, pool: Pool) -> Shop:
    project = f"project-{uuid.uuid4()}"
    await admin.call("POST", "/projects", {"project": project})
    found = Shop(admin, project)
    await found.create(7)
    found.secret = new_secret()
    number = await projects.ensure_project(pool, project)
    await keys.create_key(pool, found.secret, project_id=number, name="till", scopes={Scope.TRIGGER})
    return found


async def test_message_is_that_of_the_version_of_the_attempt(shop: Shop, stack: Stack) -> None:
    content = await shop.content()
    content["templates"] = [
        {"locale": "default", "text": "Hi {{ event.name }}", "html": "<p>Hi {{ event.name }}</p>"}
    ]
    await shop.admin.call("PATCH", shop.path(7), {"content": content})
    sent = await shop.deliver(stack)
    content["templates"] = [{"locale": "default", "text": "Changed"}]
    await shop.admin.call("PATCH", shop.path(7), {"content": content})
    found = (await shop.message(sent)).json()
    assert (found["rendered_from"], found["campaign_version"]) == ("attempt", 2)
    assert (found["text"], found["html"]) == (f"Hi <Zoe> {CODE}", f"<p>Hi &lt;Zoe&gt; {CODE}</p>")
    assert (found["chosen_locale"], found["sender"]) == ("default", content["sender"])


async def test_message_of_a_secret_is_not_shown(shop: Shop, stack: Stack, pool: Pool) -> None:
    """Not even while it waits; and a dead letter cannot be retried."""
    sent = await shop.deliver(stack, retain="none")
    hidden = await shop.message(sent)
    assert (hidden.status_code, "retain: none" in hidden.text, CODE in hidden.text) == (422, True, False)
    found = (await shop.admin.call("GET", f"/deliveries/{sent}")).json()["delivery"]["summary"]
    assert (found.get("address"), found["retain"], found["state"]) == (None, "none", "delivered")
    await pool.execute("INSERT INTO dead_letter (trigger_id, error) VALUES ($1, '')", uuid.UUID(sent))
    retried = await shop.admin.call("POST", "/deliveries:retry", {"trigger_ids": [sent]})
    assert retried.status_code == 422
    assert "cannot be retried: its content was removed when its delivery ended" in retried.text
    count = await shop.admin.call("POST", "/deliveries:retry", {"trigger_ids": [sent], "dry_run": True})
    assert "retried" not in count.json()


async def test_message_of_each_channel_is_complete(shop: Shop, stack: Stack) -> None:
    base = {**await shop.content(), "sender": ""}
    for number, kind in ((8, "text"), (9, "push")):
        template = {"locale": "default", "text": "Hi {{ event.name }} \N{SNOWMAN}"}
        title = {"title": "For {{ event.name }}"} if kind == "push" else {}
        content = {**base, "campaign_channel": kind, "templates": [{**template, **title}]}
        body = {"project": shop.project, "campaign_id": str(number), "content": content}
        assert (await shop.admin.call("POST", "/campaigns", body)).status_code == 200
    text = (await shop.message(await shop.deliver(stack, 8, "text"))).json()
    assert (text["sms_segments"], text["sms_encoding"]) == (1, "UCS-2")
    push_id = await shop.deliver(stack, 9, "push")
    push = (await shop.message(push_id)).json()
    assert push["title"] == f"For <Zoe> {CODE}"
    payload = json.loads(push["push_payload"])
    assert payload["data"] == {"trigger_id": push_id, "campaign_id": "9"}
    assert payload["body"] == push["text"]


async def test_message_of_a_waiting_trigger_is_what_would_be_sent(shop: Shop, pool: Pool) -> None:
    """Nothing has recorded a version yet, so it is that of now, also once it has changed."""
    trigger_id = await waiting(shop, pool)
    assert (await shop.message(trigger_id)).json()["rendered_from"] == "current"
    content = {**await shop.content(), "templates": [{"locale": "default", "text": "Changed"}]}
    await shop.admin.call("PATCH", shop.path(7), {"content": content})
    assert (await shop.message(trigger_id)).json()["text"] == "Changed"


async def test_message_of_a_test_send_is_its_own_content(shop: Shop) -> None:
    body = {"address": "zoe@example.com", "event": json.dumps({"name": "Zoe"})}
    sent = (await shop.admin.call("POST", shop.path(7, ":sendTest"), body)).json()["trigger_id"]
    found = (await shop.message(sent)).json()
    assert (found["rendered_from"], found["text"]) == ("test_send", "Hi Zoe")


async def test_message_that_cannot_be_rendered_says_why(shop: Shop, pool: Pool) -> None:
    trigger_id = await waiting(shop, pool)
    await pool.execute(
        "INSERT INTO attempt (trigger_id, number, provider, outcome, started_at, duration,"
        " provider_message_id, error, campaign_version) VALUES ($1, 1, 'x', 'dead', now(), 0.1, '', 'x', 99)",
        uuid.UUID(trigger_id),
    )
    gone = await shop.message(trigger_id)
    assert refusal(gone) == (422, "RESOURCE_STATE")
    assert "version 99 of campaign 7 is missing" in gone.text
    await pool.execute("DELETE FROM attempt WHERE trigger_id = $1", uuid.UUID(trigger_id))
    templates = [{"locale": "default", "text": "Hi {{ event.name }}{{ event.missing }}"}]
    content = {**await shop.content(), "templates": templates, "strict_variables": True}
    await shop.admin.call("PATCH", shop.path(7), {"content": content})
    broken = await shop.message(trigger_id)
    assert refusal(broken) == (422, "RESOURCE_STATE")
    assert "default text, line 1, column 23" in broken.text
    assert CODE not in broken.text


async def test_message_needs_the_role_operator(
    shop: Shop, pool: Pool, viewer: Operator, demo_admin: Operator, local: LocalAdmin
) -> None:
    trigger_id = await waiting(shop, pool)
    path = f"/deliveries/{trigger_id}/message"
    refused = await viewer.call("GET", path)
    assert refusal(refused) == (403, "ROLE_MISSING")
    assert CODE not in refused.text
    assert refusal(await demo_admin.call("GET", path)) == (404, "DELIVERY_NOT_FOUND")
    mine = Operator(viewer.http, await create_admin_key(local, "operator", project=shop.project))
    assert CODE in (await mine.call("GET", path)).text
    unknown = await mine.call("GET", f"/deliveries/{uuid.uuid4()}/message")
    assert refusal(unknown) == (404, "DELIVERY_NOT_FOUND")


async def waiting(shop: Shop, pool: Pool) -> str:
    """Return the ID of a trigger that no dispatcher sends."""
    number = await projects.ensure_project(pool, shop.project)
    trigger_id = uuid_utils.compat.uuid7()
    await pool.execute(
        "INSERT INTO trigger (id, project_id, campaign_id, channel, external_id, address, timezone, locale,"
        " user_data, event) VALUES ($1, $2, 7, 'email', 'zoe', 'zoe@example.com', '', '', '', $3)",
        trigger_id,
        number,
        json.dumps({"name": CODE}),
    )
    return str(trigger_id)
