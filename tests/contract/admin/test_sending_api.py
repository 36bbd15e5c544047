"""Holding and releasing all sending: roles, repetition, audit, and what shows it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from server.admin.client import LocalAdmin
from server.config import load
from server.postgres.embedded import EmbeddedPostgres
from server.store.pool import Pool
from server.up.hold import hold_sending
from server.wiring.common import with_database
from tests.contract.admin.conftest import Operator
from tests.kit.admin import create_admin_key
from tests.kit.stack import Stack
from tests.kit.triggers import accepted


@pytest.fixture(autouse=True)
async def _released(pool: Pool) -> AsyncIterator[None]:
    yield
    await pool.execute("UPDATE sending SET held_at = NULL, held_by = '', reason = ''")


@pytest.fixture
async def operator(admin: Operator, local: LocalAdmin) -> Operator:
    return Operator(admin.http, await create_admin_key(local, "operator"))


async def test_an_operator_holds_and_releases(operator: Operator, viewer: Operator, admin: Operator) -> None:
    first = await operator.call("POST", "/system:hold", {"hold_reason": "restored"})
    assert first.status_code == 200, first.text
    again = await admin.call("POST", "/system:hold", {"hold_reason": "another"})
    assert again.json()["sending_hold"] == first.json()["sending_hold"]
    shown = (await viewer.call("GET", "/system")).json()["system"]
    assert shown["sending_hold"] == first.json()["sending_hold"]
    assert shown["problems"][0]["runbook"] == "ClarionSendingHeld"
    assert "restored" in shown["problems"][0]["description"]
    caller = (await viewer.call("GET", "/caller")).json()
    assert caller["sending_hold"]["hold_reason"] == "restored"
    ended = await operator.call("POST", "/system:release", {"etag": shown["sending_hold"]["etag"]})
    assert ended.json()["released_hold"] == shown["sending_hold"]
    assert (await operator.call("POST", "/system:release", {})).json() == {}
    assert "sending_hold" not in (await viewer.call("GET", "/caller")).json()


async def test_another_hold_than_the_one_read_is_not_released(operator: Operator) -> None:
    read = (await operator.call("POST", "/system:hold", {})).json()["sending_hold"]
    await operator.call("POST", "/system:release", {})
    now = (await operator.call("POST", "/system:hold", {})).json()["sending_hold"]
    refused = await operator.call("POST", "/system:release", {"etag": read["etag"]})
    assert refused.json()["details"][0]["reason"] == "ETAG_MISMATCH", refused.text
    assert (await operator.call("POST", "/system:hold", {})).json()["sending_hold"] == now


async def test_only_operators_of_all_projects_may(viewer: Operator, demo_admin: Operator) -> None:
    for caller in (viewer, demo_admin):
        for action in ("hold", "release"):
            refused = await caller.call("POST", f"/system:{action}", {})
            assert refused.status_code == 403, refused.text
            assert refused.json()["details"][0]["reason"] == "ROLE_MISSING"
    assert "sending_hold" not in (await viewer.call("GET", "/caller")).json()


async def test_clarion_up_holds_before_it_dispatches(stack: Stack, operator: Operator) -> None:
    url = EmbeddedPostgres(stack.data, stack.server_socket.parent).url
    text = await hold_sending(with_database(load(None, {}), url))
    assert "held" in text
    caller = (await operator.call("GET", "/caller")).json()
    assert caller["sending_hold"]["hold_reason"] == "clarion up --hold"


@pytest.mark.parametrize("reason", ["x" * 501, "a\n- all is well", "\x1b[2J", "\u2028"])
async def test_the_reason_is_one_short_line(reason: str, operator: Operator) -> None:
    refused = await operator.call("POST", "/system:hold", {"hold_reason": reason})
    assert refused.status_code == 422
    assert "hold_reason" in refused.text


async def test_hold_and_release_are_audited_once(operator: Operator, admin: Operator) -> None:
    for action in ("hold", "hold", "release", "release"):
        await operator.call("POST", f"/system:{action}", {})
    events = (await admin.call("GET", "/auditEvents?resource=sending&page_size=2")).json()["audit_events"]
    assert [one["action"] for one in events] == ["sending.release", "sending.hold"]


async def test_triggers_are_accepted_and_say_why_they_wait(
    operator: Operator, viewer: Operator, stack: Stack
) -> None:
    await operator.call("POST", "/system:hold", {"hold_reason": "restored"})
    operator.http.headers.update(stack.headers())
    sent = await accepted(operator.http)
    found = (await viewer.call("GET", f"/deliveries/{sent}")).json()["delivery"]
    assert found["waiting"]["waiting_reason"] == "held"
    assert "restored; `clarion release` ends that" in found["waiting"]["detail"]
