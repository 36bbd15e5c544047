"""Sessions and admin keys: how many sessions one caller has, their lists, and who may end them."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from typing import Any

import pytest

from server.domain.identity import Identity
from server.domain.operator import MAX_SESSIONS, MAX_SIGN_INS, SIGN_INS_WINDOW, Grant, Role, new_session_token
from server.errors import RateLimited
from server.store.admin import operators as store
from server.store.pool import Pool
from tests.contract.admin.conftest import Operator
from tests.kit.admin import reason_of

GRANTS = (Grant(Role.VIEWER),)
AT_ONCE = 8


async def started(operator: Operator, count: int) -> list[dict[str, Any]]:
    """Start sessions at the same time."""
    answers = await asyncio.gather(*(operator.call("POST", "/sessions", {}) for _ in range(count)))
    assert [one.status_code for one in answers] == [200] * count
    return [one.json() for one in answers]


async def listed(operator: Operator, path: str, name: str, size: int) -> list[dict[str, Any]]:
    """Return the rows of a list, read in pages of `size`."""
    found: list[dict[str, Any]] = []
    token = ""
    while True:
        answer = await operator.call("GET", f"{path}?page_size={size}&page_token={token}")
        assert answer.status_code == 200, answer.text
        rows = answer.json().get(name, [])
        assert len(rows) <= size
        found += rows
        token = answer.json().get("next_page_token", "")
        if not token:
            return found


async def test_a_key_has_few_sessions(viewer: Operator, admin: Operator) -> None:
    rounds = [await started(viewer, AT_ONCE) for _ in range(MAX_SESSIONS // AT_ONCE + 2)]
    made = [one for group in rounds for one in group]
    current = {one["session_id"] for one in await listed(admin, "/sessions", "sessions", 500)}
    kept = [one for one in made if one["session"]["session_id"] in current]
    assert len(kept) == MAX_SESSIONS
    assert all(one in kept for one in made[-AT_ONCE:])
    for one, status in ((made[-1], 200), (made[0], 401)):
        assert (await replace(viewer, secret=one["token"]).call("GET", "/caller")).status_code == status


async def test_a_person_has_few_sessions(pool: Pool) -> None:
    async def start(subject: str) -> uuid.UUID:
        async with pool.acquire() as connection, connection.transaction():
            session = await store.create_session(
                connection,
                new_session_token(),
                name=subject,
                grants=GRANTS,
                user_agent="",
                identity=Identity("https://provider.example", subject),
                token_used=uuid.uuid4().bytes * 2,
            )
        assert session
        return session.id

    ada, bob = f"ada {uuid.uuid4()}", f"bob {uuid.uuid4()}"
    of_bob = await start(bob)
    of_ada = [await start(ada) for _ in range(MAX_SESSIONS + 3)]
    found = {one.id for one in await store.list_sessions(pool, None, after=None, limit=500)}
    assert [one in found for one in of_ada] == [False] * 3 + [True] * MAX_SESSIONS
    assert of_bob in found


async def test_sign_ins_of_a_key_are_limited(viewer: Operator, admin: Operator, pool: Pool) -> None:
    """Each makes an audit event, which is never deleted. The key itself and other keys are not affected."""
    made: list[str] = []
    while len(made) < MAX_SIGN_INS:
        at_once = min(AT_ONCE, MAX_SIGN_INS - len(made))
        made += [one["session"]["session_id"] for one in await started(viewer, at_once)]
    answers = [await viewer.call("POST", "/sessions", {}) for _ in range(3)]
    assert [(one.status_code, reason_of(one)) for one in answers] == [(429, "RATE_LIMITED")] * 3
    assert 1 <= int(answers[0].headers["retry-after"]) <= SIGN_INS_WINDOW.total_seconds()
    page = await viewer.http.post(
        "/portal/sign-in", data={"key": viewer.secret}, headers={"sec-fetch-site": "same-origin"}
    )
    assert (page.status_code, "may start within an hour" in page.text) == (429, True)
    assert (await viewer.call("GET", "/caller")).status_code == 200
    recorded = (
        "SELECT count(*) FROM audit_event e JOIN operator_session s ON e.resource = 'session/' || s.id"
        " WHERE e.action = 'session.create' AND s.owner ="
        " (SELECT owner FROM operator_session WHERE id = $1)"
    )
    assert await pool.fetchval(recorded, uuid.UUID(made[0])) == MAX_SIGN_INS
    await started(admin, 1)
    later = "UPDATE operator_session SET created_at = created_at - interval '1 hour' WHERE id = $1"
    await pool.execute(later, uuid.UUID(made[0]))
    await started(viewer, 1)


async def test_sign_ins_of_a_person_are_limited(pool: Pool) -> None:
    person = Identity("https://provider.example", f"ada {uuid.uuid4()}")

    async def start() -> None:
        async with pool.acquire() as connection, connection.transaction():
            await store.create_session(
                connection,
                new_session_token(),
                name="ada",
                grants=GRANTS,
                user_agent="",
                identity=person,
                token_used=uuid.uuid4().bytes * 2,
            )

    for _ in range(MAX_SIGN_INS):
        await start()
    with pytest.raises(RateLimited, match="may start within an hour"):
        await start()


async def test_ended_sessions_are_deleted(pool: Pool, viewer: Operator) -> None:
    old, recent = await started(viewer, 2)
    ids = [one["session"]["session_id"] for one in (old, recent)]
    for one, minutes in zip(ids, (61, 0), strict=True):
        ended = "UPDATE operator_session SET expires_at = now() - make_interval(mins => $2) WHERE id = $1"
        await pool.execute(ended, uuid.UUID(one), minutes)
    await started(viewer, 1)
    rows = await pool.fetch("SELECT id FROM operator_session WHERE id = ANY($1::uuid[])", ids)
    assert [str(row["id"]) for row in rows] == ids[1:]


async def test_lists_of_access_have_pages(viewer: Operator, admin: Operator) -> None:
    await started(viewer, 3)
    lists = (("/sessions", "sessions", "session_id"), ("/adminKeys", "admin_keys", "admin_key_id"))
    for path, name, key in lists:
        whole = await listed(admin, path, name, 500)
        in_parts = await listed(admin, path, name, max(1, len(whole) // 3))
        assert [one[key] for one in in_parts] == [one[key] for one in whole]
        assert len({one[key] for one in whole}) == len(whole) >= 2
        one = await admin.call("GET", f"{path}/{whole[-1][key]}")
        assert one.json()[name.removesuffix("s")] == whole[-1]
        wrong = await admin.call("GET", f"{path}?page_token=AAAA")
        assert (wrong.status_code, reason_of(wrong)) == (422, "INVALID_REQUEST")


async def test_admins_of_a_project_see_only_its_own(viewer: Operator, demo_admin: Operator) -> None:
    [foreign] = await started(viewer, 1)
    [own] = await started(demo_admin, 1)
    names = [one["session_id"] for one in await listed(demo_admin, "/sessions", "sessions", 500)]
    assert own["session"]["session_id"] in names
    assert foreign["session"]["session_id"] not in names
    keys = await listed(demo_admin, "/adminKeys", "admin_keys", 500)
    assert {grant.get("project") for key in keys for grant in key["grants"]} == {"demo"}
    events = (await demo_admin.call("GET", "/auditEvents?action=session.create")).json()["audit_events"]
    resources = [one["resource"] for one in events]
    assert f"session/{own['session']['session_id']}" in resources
    assert f"session/{foreign['session']['session_id']}" not in resources
    path = f"/sessions/{foreign['session']['session_id']}"
    for method, one in (("GET", path), ("POST", f"{path}:revoke"), ("GET", f"/adminKeys/{uuid.uuid4()}")):
        answer = await demo_admin.call(method, one, {} if method == "POST" else None)
        assert (answer.status_code, reason_of(answer)) == (404, "RESOURCE_NOT_FOUND")


async def test_callers_end_their_own_sessions(viewer: Operator) -> None:
    own, other = await started(viewer, 2)
    session = replace(viewer, secret=own["token"])
    path = "/sessions/{}:revoke"
    refused = await session.call("POST", path.format(other["session"]["session_id"]), {})
    assert (refused.status_code, reason_of(refused)) == (404, "RESOURCE_NOT_FOUND")
    assert (await session.call("POST", path.format(own["session"]["session_id"]), {})).status_code == 200
