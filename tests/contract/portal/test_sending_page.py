"""The page that holds and releases all sending, and the banner of a hold."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from server.store.pool import Pool
from tests.contract.portal.conftest import Visitor
from tests.kit.html_pages import read_page


@pytest.fixture(autouse=True)
async def _released(pool: Pool) -> AsyncIterator[None]:
    yield
    await pool.execute("UPDATE sending SET held_at = NULL, held_by = '', reason = ''")


async def test_sending_is_held_and_released(admin: Visitor, viewer: Visitor) -> None:
    before = (await viewer.get("/sending")).text
    assert "Sending is not held" in before, before[-1500:]
    held = await admin.post("/sending", {"change": "hold", "hold_reason": "restored <b>today</b>"})
    assert held.headers["location"] == "/portal/sending"
    for visitor in (admin, viewer):
        page = await visitor.get("/projects")
        assert "Nothing is sent: sending is held by" in page.text
        assert "restored &lt;b&gt;today&lt;/b&gt;" in page.text
    assert "An operator for all projects can release sending." in (await viewer.get("/sending")).text
    refused = await viewer.post("/sending", {"change": "release"})
    assert refused.status_code == 403
    form = next(one for one in read_page((await admin.get("/sending")).text).forms if "etag" in one.data())
    fields = {name: str(value) for name, value in form.data().items() if name != "csrf_token"}
    stale = await admin.post("/sending", {**fields, "etag": "stale"})
    assert (stale.status_code, "changed since" in stale.text) == (409, True)
    assert (await admin.post("/sending", fields)).headers["location"] == "/portal/sending"
    assert "Nothing is sent" not in (await viewer.get("/projects")).text
