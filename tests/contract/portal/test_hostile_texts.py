"""Markup in stored texts and in URLs is shown as text on every page."""

from __future__ import annotations

import uuid
from urllib.parse import quote

import pytest

from portal.csv_files import EXPORT
from tests.contract.portal.conftest import Visitor
from tests.kit.html_pages import read_page
from tests.kit.portal_world import World, mark

pytestmark = pytest.mark.long


async def test_stored_markup_is_shown_as_text(admin: Visitor, world: World) -> None:
    unsafe, shown = [], ""
    waiting = f"/deliveries/{world.ids['waiting']}"
    for address in (*(address for _, address in world.pages()), *LISTS, waiting):
        answer = await admin.get(address.replace("PROJECT", world.project))
        assert answer.status_code == 200, (address, answer.text)
        if answer.headers["content-type"].startswith("text/html"):
            page = read_page(answer.text)
            unsafe += [(address, one) for one in page.unsafe]
            shown += page.title + page.text
            shown += " ".join(str(form.data()) for form in page.forms)
    assert unsafe == [], unsafe
    missing = [one for one in sorted(world.marks) if one not in shown]
    assert missing == [], missing


LISTS = ("/audit?action=" + quote(mark("action")), "/?project=PROJECT", "/campaigns/PROJECT/78")


async def test_markup_in_addresses_is_shown_as_text(admin: Visitor, world: World) -> None:
    script = mark("query")
    unsafe, echoed = [], 0
    for path, address in world.pages():
        if path.startswith(EXPORT):
            continue
        page = read_page((await admin.get(address)).text)
        names = {
            *page.filters,
            "project",
            "page",
            "q",
            "since",
            "message_id",
            "notice",
            "channel",
            "x\"'><img>",
        }
        here, _, given = address.partition("?")
        for name in sorted(names):
            answer = await admin.get(
                here, params={**({"project": world.project} if given else {}), name: script}
            )
            assert answer.status_code < 500, (address, name)
            if answer.headers["content-type"].startswith("text/html"):
                unsafe += [(address, name, one) for one in read_page(answer.text).unsafe]
                echoed += script in read_page(answer.text).text or name in page.filters
        answer = await admin.get(quote(path.replace("{", script + "{"), safe="/"))
        assert answer.status_code < 500, path
        unsafe += [(path, "", one) for one in read_page(answer.text).unsafe]
    assert unsafe == [], unsafe
    assert echoed


async def test_markup_in_sign_in_is_shown_as_text(stranger: Visitor) -> None:
    for path in ("/sign-in", "/sign-in/oidc", "/sign-in/oidc/callback"):
        for name in ("next", "kept", "error", "error_description", "state", "code", "iss"):
            answer = await stranger.get(path, params={name: mark(name)})
            assert answer.status_code < 600
            assert read_page(answer.text).unsafe == [], (path, name)
    answer = await stranger.get(f"/{quote(mark('path'))}/{uuid.uuid4()}")
    assert read_page(answer.text).unsafe == []
