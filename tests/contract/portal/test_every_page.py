"""What holds for every page, those that are added later included."""

from __future__ import annotations

import re
import uuid

import httpx

from portal import PortalSettings
from portal.pages import PAGES
from server.store.pool import Pool
from tests.contract.portal.conftest import Visitor
from tests.contract.portal.test_settings import served
from tests.kit.html_pages import read_page
from tests.kit.stack import Stack

KNOWN = {"name": "demo", "project": "demo", "action": "retry", "campaign_id": "44"}
HOSTILE = {"project": "\0", "etag": "x" * 5000, "campaign_id": "9" * 99}
RELATIVE = re.compile(r' (?:href|action)="(?!/|#|https?://)[^"]')
PREVIEW = "/preview"
"""The end of the paths of forms that only show something."""


def addresses(*, forms: bool = False) -> list[str]:
    """Return an address of each page that is not a stream, with IDs that mostly do not exist."""
    return [
        re.sub(r"\{(\w+)(:\w+)?\}", lambda found: KNOWN.get(found[1], str(uuid.uuid4())), page.path)
        for page in PAGES
        if not page.path.startswith("/live/") and (page.has_form or not forms)
    ]


async def changes(pool: Pool) -> int:
    """Return how many changes the audit log has, except of sessions."""
    count: int = await pool.fetchval("SELECT count(*) FROM audit_event WHERE action NOT LIKE 'session.%'")
    return count


def problems(path: str, answer: httpx.Response) -> list[str]:
    is_page = answer.headers.get("content-type", "").startswith("text/html")
    found = {
        "failed": answer.status_code >= 500,
        "has no title": is_page and not re.search(r"<title>[^<]+ \| Clarion</title>", answer.text),
        "has no way back": is_page and '<a class="brand" href="/portal/">' not in answer.text,
        "has a link relative to its path": is_page and bool(RELATIVE.search(answer.text)),
        "has inline code": is_page and read_page(answer.text).unsafe != [],
        "is kept by browsers": answer.headers["cache-control"] not in ("no-store", "no-cache"),
        "has no policy": "default-src 'none'" not in answer.headers["content-security-policy"],
    }
    return [f"{path} {what}: {answer.status_code}" for what, wrong in found.items() if wrong]


async def test_every_page_has_a_title_and_a_way_back(admin: Visitor) -> None:
    wrong = [one for path in addresses() for one in problems(path, await admin.get(path))]
    assert wrong == []


async def test_every_page_survives_what_it_did_not_expect(admin: Visitor) -> None:
    hostile = (
        "?project=%00&page=x&q=%F0%9F%98%80'\"<b>&state=nothing&since=9999-99-99&campaign_id=-1&x="
        + "y" * 2000
    )
    wrong = [one for path in addresses() for one in problems(path, await admin.get(path + hostile))]
    for path in addresses(forms=True):
        for fields in ({}, {"restored": "yes"}, HOSTILE):
            wrong += problems(path, await admin.post(path, fields))
    assert wrong == []


async def test_no_form_changes_anything_for_a_viewer(viewer: Visitor, pool: Pool) -> None:
    before = await changes(pool)
    for path in addresses(forms=True):
        answer = await viewer.post(path, {"project": "demo", "name": "x", "display_name": "x"})
        assert answer.status_code >= 400 or path.endswith(PREVIEW), path
    assert await changes(pool) == before


async def test_no_form_changes_anything_in_read_only_mode(stack: Stack, admin: Visitor, pool: Pool) -> None:
    settings = PortalSettings(servers=(stack.server_target,), read_only=True)
    async with served(settings, admin.key) as visitor:
        before = await changes(pool)
        for path in addresses(forms=True):
            answer = await visitor.post(path, {"project": "demo", "display_name": "x", "timezone": "UTC"})
            assert answer.status_code >= 400 or path.endswith(PREVIEW), path
        assert await changes(pool) == before


async def test_no_page_is_for_strangers(stranger: Visitor) -> None:
    for path in addresses():
        answer = await stranger.get(path)
        assert (answer.status_code, answer.headers["location"][:15]) == (303, "/portal/sign-in"), path
    for path in addresses(forms=True):
        assert (await stranger.http.post(f"/portal{path}", headers={"origin": "x"})).status_code == 403, path
