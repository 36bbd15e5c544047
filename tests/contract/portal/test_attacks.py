"""Attacks on the portal."""

from __future__ import annotations

import html
import re

import httpx
import pytest

from clarion.admin.v1 import project_pb2
from server.admin.client import LocalAdmin
from tests.contract.portal.conftest import SAME, Visitor
from tests.kit.admin import create_admin_key
from tests.kit.html_pages import read_page
from tests.kit.http_client import http_client
from tests.kit.stack import Stack
from tests.kit.until import until

UNKNOWN = "ak_00000000-0000-0000-0000-000000000000"
SCRIPT = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
PROTECTED = {
    "content-security-policy": "default-src 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}


@pytest.mark.parametrize("path", ["/", "/sign-in", "/nothing", "/projects", "/static/0/portal.css"])
async def test_every_response_is_protected(stranger: Visitor, path: str) -> None:
    answer = await stranger.get(path)
    for name, value in PROTECTED.items():
        assert answer.headers[name].startswith(value), name
    policy = answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


async def test_pages_have_no_inline_script_or_style(admin: Visitor) -> None:
    for path in ("/", "/projects", "/projects/demo", "/access", "/api", "/sign-in"):
        assert read_page((await admin.get(path)).text).unsafe == [], path


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "same-origin", "origin": "https://evil.example"},
        {},
    ],
    ids=str,
)
async def test_forms_of_other_origins_are_rejected(admin: Visitor, headers: dict[str, str]) -> None:
    answer = await admin.post("/projects/new", {"project": "stolen"}, headers)
    assert answer.status_code == 403
    assert "Nothing was changed" in answer.text
    assert "stolen" not in (await admin.get("/projects")).text


async def test_a_form_needs_the_sessions_token(admin: Visitor, viewer: Visitor) -> None:
    for token in ("", "x", await viewer.csrf(), "é"):
        answer = await admin.post("/projects/new", {"csrf_token": token, "project": "stolen"})
        assert answer.status_code == 403
    out = await admin.post("/sign-out", {"csrf_token": ""})
    assert out.status_code == 403
    assert (await admin.get("/projects")).status_code == 200


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example/",
        "https://evil.example/",
        "/\\evil.example",
        "/a\\evil",
        "/\x00",
        "/\r\nSet-Cookie: a=b",
        "javascript:1",
        "x" * 3000,
    ],
)
async def test_signing_in_stays_in_the_portal(admin: Visitor, target: str) -> None:
    answer = await admin.sign_in(next=target)
    assert answer.headers["location"] == "/portal/"
    answer = await admin.sign_in(next="/projects?project=demo")
    assert answer.headers["location"] == "/portal/projects?project=demo"


async def test_a_session_is_not_fixed(admin: Visitor, stack: Stack) -> None:
    """Signing in starts another session and ends the one before."""
    before = admin.http.cookies["clarion-session"]
    await admin.sign_in()
    assert admin.http.cookies["clarion-session"] != before
    planted = {"clarion-session": before}

    async def rejected() -> bool:
        async with http_client(stack.url, cookies=planted) as http:
            return (await http.get("/portal/projects")).status_code == 303

    await until(rejected, "the session before is rejected")


async def test_cookies_are_for_http_only(admin: Visitor) -> None:
    (cookie,) = (await admin.sign_in()).headers.get_list("set-cookie")
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/portal" in cookie
    assert "Domain" not in cookie


async def test_secrets_are_not_in_pages(admin: Visitor) -> None:
    await admin.sign_in()
    token = admin.http.cookies["clarion-session"]
    for path in ("/", "/access", "/api", "/projects/demo"):
        text = (await admin.get(path)).text
        assert token not in text
        assert admin.key not in text
    sent = await admin.post("/api", {"key": "sk_secret", "campaign_id": "44", "body": "{}"})
    assert sent.status_code == 422
    assert "sk_secret" not in sent.text


async def test_a_forged_idempotency_key_is_replaced(admin: Visitor, stack: Stack) -> None:
    body = '{"user": {"external_id": "1", "email": "a@test.com"}}'
    form = {"key": stack.key, "campaign_id": "44", "body": body, "idempotency_key": "a\r\nb: c"}
    assert (await admin.post("/api", form)).status_code == 200


@pytest.mark.parametrize("field", ["project", "timezone"])
async def test_what_was_typed_is_escaped(admin: Visitor, field: str) -> None:
    answer = await admin.post("/projects/new", {"project": "x", "timezone": "UTC", field: SCRIPT})
    assert answer.status_code == 422
    assert SCRIPT not in answer.text
    assert html.escape(SCRIPT) in answer.text.replace("&#34;", "&quot;").replace("&#39;", "&#x27;")


async def test_what_was_kept_is_escaped(stranger: Visitor, admin: Visitor) -> None:
    ended = await stranger.http.post("/portal/projects/new", data={"project": SCRIPT}, headers=SAME)
    assert ended.status_code == 401
    found = re.search('name="kept" value="(.*?)"', ended.text)
    assert found
    for damaged in ("{", "[1]", '[["a"]]', "[" * 100_000):
        assert (await admin.sign_in(next="/", kept=damaged)).status_code == 200
    resumed = await admin.sign_in(next="/projects/new", kept=html.unescape(found[1]))
    assert SCRIPT not in resumed.text
    restored = await admin.post("/projects/new", {"project": SCRIPT, "restored": "yes"})
    assert restored.status_code == 200
    assert SCRIPT not in restored.text
    assert "Nothing was sent yet" in restored.text


async def test_notices_cannot_be_planted(admin: Visitor) -> None:
    admin.http.cookies.set("clarion-notice", "aGVsbG8", path="/portal")
    assert "hello" not in (await admin.get("/projects")).text
    for value in ("", "!", "A" * 100, "é".encode().hex()):
        admin.http.cookies.set("clarion-notice", value, path="/portal")
        assert (await admin.get("/projects")).status_code == 200


@pytest.mark.parametrize(
    "token", ["", "x", "as_00000000-0000-0000-0000-000000000000", UNKNOWN, "as_" + "0" * 5000]
)
async def test_invented_sessions_lead_to_sign_in(stranger: Visitor, token: str) -> None:
    answer = await stranger.get("/projects", headers={"cookie": f"clarion-session={token}"})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/portal/sign-in?next=%2Fprojects"


async def test_wrong_keys_do_not_keep_right_ones_out(local: LocalAdmin, stack: Stack) -> None:
    """Of one address, whatever header names another."""
    async with http_client(stack.url, transport=httpx.AsyncHTTPTransport(local_address="127.0.0.9")) as http:
        visitor = Visitor(http)
        answers = [await visitor.sign_in(UNKNOWN) for _ in range(11)]
        forged = {**SAME, "x-clarion-caller": "10.9.9.9"}
        again = await http.post("/portal/sign-in", data={"key": UNKNOWN}, headers=forged)
        malformed = await visitor.sign_in("ak_x")
        right = await visitor.sign_in(await create_admin_key(local, "viewer"))
    assert [one.status_code for one in answers] == [422] * 10 + [429]
    assert again.status_code == 429
    assert "A key that works is still accepted" in again.text
    assert (malformed.status_code, right.status_code) == (422, 303)


async def test_api_keys_cannot_sign_in(stranger: Visitor, stack: Stack) -> None:
    answer = await stranger.sign_in(stack.key)
    assert answer.status_code == 422
    assert "set-cookie" not in answer.headers


async def test_large_forms_are_rejected(admin: Visitor) -> None:
    token = await admin.csrf()
    for size in (1024 * 1024 + 1, 3 * 1024 * 1024):
        data = {"csrf_token": token, "project": "x" * size}
        answer = await admin.http.post("/portal/projects/new", data=data, headers=SAME)
        assert answer.status_code == 413
        assert "Nothing was changed" in answer.text
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
    stranger = {"key": admin.key, "kept": "x" * 65 * 1024}
    admin.http.cookies.clear()
    for path in ("/sign-in", "/projects/new"):
        answer = await admin.http.post(f"/portal{path}", data=stranger, headers=SAME)
        assert answer.status_code == 413
        assert "too large to keep" in answer.text
    await admin.sign_in()
    many = "&".join(f"a{n}=1" for n in range(20_000))
    answer = await admin.http.post(
        "/portal/projects/new",
        content=f"csrf_token={token}&{many}",
        headers={**SAME, "content-type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code in (413, 422)


async def test_roles_hold_for_every_address(viewer: Visitor) -> None:
    assert "New project" not in (await viewer.get("/projects")).text
    assert (await viewer.post("/projects/new", {"project": "mine"})).status_code == 403
    assert (await viewer.post("/projects/demo", {"timezone": "UTC"})).status_code == 403
    for path in ("/access", "/access/keys/x/revoke"):
        answer = await viewer.get(path)
        assert answer.status_code == 403
        assert "Back to the overview" in answer.text


async def test_many_projects_come_in_pages(admin: Visitor, local: LocalAdmin) -> None:
    for number in range(101):
        request = project_pb2.CreateProjectRequest(project=f"many-{number:03}")
        await local.call("projects", "CreateProject", request)
    first = (await admin.get("/projects")).text
    found = re.search('href="([^"]*)" rel="next"', first)
    assert found
    second = (await admin.http.get(html.unescape(found[1]))).text
    assert "First page" in second
    assert not set(re.findall("many-[0-9]+", first)) & set(re.findall(r"/many-[0-9]+", second))
    damaged = await admin.get("/projects?page=damaged")
    assert damaged.status_code == 422
    assert "page_token" in damaged.text
