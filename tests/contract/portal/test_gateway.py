"""The gateway in front of the portal: what browsers get without it, and who cannot block it."""

from __future__ import annotations

import asyncio

from tests.contract.portal.conftest import Visitor
from tests.kit.gateway import running_toy_stack
from tests.kit.http_client import http_client
from tests.kit.stack import Stack

SLOW = 80
"""More than the pages that the portal serves at once (gateway/config/portal.py)."""


async def test_a_portal_that_is_down_has_a_page() -> None:
    async with (
        running_toy_stack(portal="unix:/nowhere/portal.sock") as toy,
        http_client(f"http://{toy.address}") as http,
    ):
        for path in ("/portal", "/portal/", "/portal/live/deliveries", "/portal/projects?a=b"):
            answer = await http.get(path)
            assert answer.status_code == 503, path
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
            assert answer.headers["content-security-policy"].startswith("default-src 'none'")
            assert "The portal is not available" in answer.text
            assert "Try again" in answer.text
        other = await http.get("/portals")
        assert other.status_code == 404
        assert other.headers["content-type"] == "application/json"


async def test_slow_callers_do_not_block_the_portal(stack: Stack, stranger: Visitor) -> None:
    """Forms that never arrive wait in the gateway and take none of the portal's places."""
    head = (
        b"POST /portal/sign-in HTTP/1.1\r\nhost: a\r\nsec-fetch-site: same-origin\r\n"
        b"content-type: application/x-www-form-urlencoded\r\ncontent-length: 100\r\n\r\nkey="
    )
    held = [await asyncio.open_connection("127.0.0.1", stack.port) for _ in range(SLOW)]
    try:
        for _, writer in held:
            writer.write(head)
            await writer.drain()
        answers = [await stranger.get("/sign-in") for _ in range(5)]
        assert {one.status_code for one in answers} == {200}
    finally:
        for _, writer in held:
            writer.close()


async def test_the_address_in_the_audit_log_is_the_browsers(stack: Stack, admin: Visitor) -> None:
    forged = {"sec-fetch-site": "same-origin", "x-clarion-caller": "10.9.9.9"}
    answer = await admin.post("/projects/new", {"project": "audited"}, {**forged, "x-request-id": "from-me"})
    assert answer.status_code == 303
    async with stack.pool() as pool:
        row = await pool.fetchrow("SELECT * FROM audit_event WHERE resource = 'project/audited'")
    assert row
    assert (row["address"], row["request_id"]) == ("127.0.0.1", "from-me")
