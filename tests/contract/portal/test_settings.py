"""The settings of the portal: the application in this process, before real servers."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from portal import PortalSettings
from portal.app import create_app
from tests.contract.portal.conftest import SAME, Visitor
from tests.kit.http_client import http_client
from tests.kit.stack import Stack

NOWHERE = "unix:/nowhere/server.sock"


@asynccontextmanager
async def served(settings: PortalSettings, key: str, url: str = "http://portal") -> AsyncIterator[Visitor]:
    """Serve a portal with these settings, and sign in."""
    transport = httpx.ASGITransport(create_app(settings), raise_app_exceptions=False)
    async with http_client(url, transport=transport) as http:
        visitor = Visitor(http, key)
        if key:
            await visitor.sign_in()
        yield visitor


async def test_read_only_mode_hides_and_refuses_writes(stack: Stack, admin: Visitor) -> None:
    settings = PortalSettings(servers=(stack.server_target,), read_only=True)
    async with served(settings, admin.key) as visitor:
        assert "Read-only mode" in (await visitor.get("/projects")).text
        assert "New project" not in (await visitor.get("/projects")).text
        for path in ("/projects/demo", "/api", "/access"):
            text = (await visitor.get(path)).text
            assert not re.search(r'<form method="post"(?![^>]*sign-out)', text), path
            assert "/revoke" not in text
        for path, fields in (
            ("/projects/new", {"project": "mine"}),
            ("/projects/demo", {"timezone": "UTC"}),
            ("/api", {"key": stack.key, "campaign_id": "44", "body": "{}"}),
        ):
            answer = await visitor.post(path, fields)
            assert answer.status_code == 403, path
            assert "read-only" in answer.text
        assert (await visitor.post("/sign-out")).status_code == 303
        assert (await visitor.get("/projects")).status_code == 303


async def test_read_only_mode_asks_for_no_confirmation(stack: Stack, admin: Visitor) -> None:
    """Its pages have addresses, which may be opened without the button that leads there."""
    path = f"/deliveries/{uuid.uuid4()}/cancel"
    for read_only in (True, False):
        settings = PortalSettings(servers=(stack.server_target,), read_only=read_only)
        async with served(settings, admin.key) as visitor:
            text = (await visitor.get(path)).text
        assert ("This cannot be done here: the portal is in read-only mode" in text) is read_only
        assert bool(re.search(r'<form method="post"(?![^>]*sign-out)', text)) is not read_only
        assert ("Cancel it" in text) is not read_only


async def test_cookies_over_tls_are_of_this_host_only(stack: Stack, admin: Visitor) -> None:
    settings = PortalSettings(servers=(stack.server_target,), public_url="https://clarion.example.com")
    async with served(settings, "", "https://clarion.example.com") as visitor:
        (cookie,) = (await visitor.sign_in(admin.key)).headers.get_list("set-cookie")
        assert cookie.startswith("__Host-clarion-session=as_")
        for flag in ("Secure", "HttpOnly", "SameSite=lax", "Path=/"):
            assert flag in cookie.split("; ")
        assert "Domain" not in cookie
        assert (await visitor.get("/projects")).status_code == 200
        own = {"origin": "https://clarion.example.com"}
        assert (await visitor.post("/projects/new", {"project": "é"}, own)).status_code == 422
        other = {"origin": "https://portal.example.com"}
        assert (await visitor.post("/projects/new", {"project": "é"}, other)).status_code == 403


async def test_tls_is_known_from_the_gateway(stack: Stack, admin: Visitor) -> None:
    async with served(PortalSettings(servers=(stack.server_target,)), "") as visitor:
        visitor.http.headers["x-forwarded-proto"] = "https"
        assert (await visitor.sign_in(admin.key)).headers["set-cookie"].startswith("__Host-clarion-session")


async def test_every_link_has_the_base_path(stack: Stack, admin: Visitor) -> None:
    settings = PortalSettings(servers=(stack.server_target,), base_path="/ops/clarion")
    async with served(settings, "") as visitor:
        http = visitor.http
        await http.post("/ops/clarion/sign-in", data={"key": admin.key}, headers=SAME)
        for path in ("", "/projects", "/projects/demo", "/access", "/api"):
            answer = await http.get(f"/ops/clarion{path}", follow_redirects=True)
            assert answer.status_code == 200
            links = re.findall(r'(?:href|src|action)="(/[^"]*)"', answer.text)
            assert links
            assert [link for link in links if not link.startswith("/ops/clarion/")] == []
        assert (await http.get("/portal/")).status_code == 404


@pytest.mark.long
async def test_without_servers_pages_say_so(admin: Visitor) -> None:
    async with served(PortalSettings(servers=(NOWHERE,)), "") as visitor:
        visitor.http.cookies.set("clarion-session", admin.http.cookies["clarion-session"])
        answer = await visitor.get("/projects")
        assert answer.status_code == 503
        assert "No server of Clarion can be reached" in answer.text
        assert "Traceback" not in answer.text
        assert (await visitor.get("/sign-in")).status_code == 200
        signing_in = await visitor.sign_in(admin.key)
        assert signing_in.status_code == 503
        assert "set-cookie" not in signing_in.headers


async def test_another_server_answers_for_one_that_is_away(stack: Stack, admin: Visitor) -> None:
    async with served(PortalSettings(servers=(NOWHERE, stack.server_target)), admin.key) as visitor:
        assert (await visitor.get("/projects")).status_code == 200


async def test_a_fault_is_a_page_with_its_request_id(
    stack: Stack, admin: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(PortalSettings(servers=(stack.server_target,)), admin.key) as visitor:
        monkeypatch.setattr("portal.visit.Visit.page", lambda *_args, **_named: 1 / 0)
        answer = await visitor.get("/projects", headers={"x-request-id": "find-me"})
    assert answer.status_code == 500
    assert "find-me" in answer.text
    assert "ZeroDivision" not in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "Back to the overview" in answer.text
