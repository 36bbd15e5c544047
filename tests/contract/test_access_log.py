"""What servers log of callers: rejected keys, revoked keys and cancelled triggers."""

from __future__ import annotations

import datetime as dt
import uuid

import httpx

from server.domain.key import Scope, new_secret
from server.store.admin import keys
from server.store.pool import Pool
from tests.contract.conftest import Keys
from tests.kit.stack import EXAMPLE, Stack
from tests.kit.until import until

TRIGGER = "/api/client/campaigns/44/trigger"
FORGED = {"x-clarion-caller": "192.0.2.77", "x-forwarded-for": "192.0.2.78"}


async def until_logged(stack: Stack, *words: str) -> None:
    """Wait until a server has logged one line with all these words and the address of the tests."""

    def logged() -> bool:
        lines = [line for number in range(2) for line in stack.log(f"server-{number}").splitlines()]
        return any(all(word in line for word in (*words, "127.0.0.1")) for line in lines)

    await until(logged, f"a line with {words}")


async def test_revoked_key_in_use_is_logged(stack: Stack, http: httpx.AsyncClient, secrets: Keys) -> None:
    headers = {**stack.headers(secrets.revoked), **FORGED}
    assert (await http.post(TRIGGER, json=EXAMPLE, headers=headers)).status_code == 401
    await until_logged(stack, "key rejected", "revoked")
    assert "192.0.2.7" not in stack.log("server-0") + stack.log("server-1")


async def test_revoking_a_key_is_logged(
    stack: Stack, http: httpx.AsyncClient, secrets: Keys, pool: Pool
) -> None:
    project = await pool.fetchval("SELECT id FROM project WHERE name = 'demo'")
    doomed = await keys.create_key(
        pool, new_secret(), project_id=project, name="doomed", scopes=[Scope.TRIGGER]
    )
    gone = await http.delete(f"/api/client/keys/{doomed.id}", headers=stack.headers(secrets.reads))
    assert gone.status_code == 200
    await until_logged(stack, "key revoked", str(doomed.id), "by_key_id")


async def test_cancelling_is_logged_and_the_key_recorded(
    stack: Stack, http: httpx.AsyncClient, secrets: Keys, pool: Pool
) -> None:
    later = (dt.datetime.now(dt.UTC) + dt.timedelta(days=1)).isoformat()
    headers = stack.headers(secrets.reads)
    made = await http.post(TRIGGER, json={**EXAMPLE, "send_at": later}, headers=headers)
    trigger_id = made.headers["x-trigger-id"]
    key_id = await pool.fetchval("SELECT key_id FROM trigger WHERE id = $1", uuid.UUID(trigger_id))
    assert (await http.delete(f"/api/client/triggers/{trigger_id}", headers=headers)).status_code == 204
    await until_logged(stack, "trigger cancelled", trigger_id, str(key_id))
    code, shown, _ = await stack.run("deliveries", "show", trigger_id)
    assert (code, f"with the API key {key_id}" in shown) == (0, True)
