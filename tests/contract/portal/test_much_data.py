"""Many rows in the portal: an export during which rows change, and a list of 10,000 campaigns."""

from __future__ import annotations

import csv
import html
import re
import uuid

import pytest

from server.store.admin import campaigns, projects
from server.store.pool import Pool
from tests.contract.portal.conftest import Visitor
from tests.kit.portal_world import mark
from tests.kit.stack import Stack
from tests.kit.store import a_campaign
from tests.kit.until import until

pytestmark = pytest.mark.long

ADD = """
    INSERT INTO suppression
    SELECT $1, 'email', $2 || n || '@test.com', $3, '', $4, now() - n * interval '1 second'
    FROM generate_series(1, $5::int) AS n
"""
NO_TRIGGER = uuid.UUID(int=0)
ROWS, CHANGED = 20_000, 500
COPIES = """
    INSERT INTO campaign
    SELECT (jsonb_populate_record(c, jsonb_build_object('id', n, 'name', 'copy ' || n))).*
    FROM campaign c, generate_series(2, 10000) AS n WHERE project_id = $1 AND id = 1
"""


async def test_export_is_complete_while_rows_change(admin: Visitor, pool: Pool) -> None:
    """Unchanged rows are exported exactly once, added and deleted ones at most once."""
    name = f"export-{uuid.uuid4().hex[:8]}"
    project = await projects.ensure_project(pool, name)
    await pool.execute(ADD, project, "stays-", mark("reason") + '\n,"', NO_TRIGGER, ROWS)
    await pool.execute(ADD, project, "goes-", "goes", NO_TRIGGER, CHANGED)
    text = ""
    async with admin.http.stream("GET", f"/portal/export/suppressions.csv?project={name}") as answer:
        assert answer.status_code == 200
        async for part in answer.aiter_text():
            if not text:
                await pool.execute(ADD, project, "comes-", "comes", NO_TRIGGER, CHANGED)
                await pool.execute("DELETE FROM suppression WHERE address LIKE 'goes-%@test.com'")
            text += part
    rows = list(csv.DictReader(text.splitlines()))
    assert {len(row) for row in rows} == {7}
    addresses = [row["address"] for row in rows]
    assert len(addresses) == len(set(addresses))
    assert sum(one.startswith("stays-") for one in addresses) == ROWS
    assert {row["project"] for row in rows} == {name}


async def test_ten_thousand_campaigns_are_listed(admin: Visitor, stack: Stack, pool: Pool) -> None:
    name = f"crowd-{uuid.uuid4().hex[:8]}"
    project = await projects.ensure_project(pool, name)
    await campaigns.apply_campaigns(pool, [a_campaign(1, project_id=project)])
    try:
        await pool.execute(COPIES, project)
        seen: list[str] = []
        path = f"/portal/campaigns?project={name}"
        for _ in range(3):
            answer = await admin.http.get(path)
            assert answer.status_code == 200
            seen += re.findall(rf'href="/portal/campaigns/{name}/([0-9]+)"', answer.text)
            following = re.search('href="([^"]*)" rel="next"', answer.text)
            assert following
            path = html.unescape(following[1])
        assert sorted(set(seen), key=int) == [str(number) for number in range(1, 151)]
        found = await admin.get(f"/campaigns?project={name}&name=copy%209999")
        assert f"/portal/campaigns/{name}/9999" in found.text
        key = await admin.post("/keys/new", {"project": name, "display_name": "x", "scopes": "trigger"})
        secret = re.findall("sk_[0-9a-f-]{36}", key.text)[0]

        async def accepted() -> bool:
            body = {"user": {"external_id": "x", "email": "x@test.com"}}
            answer = await admin.http.post(
                "/api/client/campaigns/9999/trigger", json=body, headers=stack.headers(secret)
            )
            return answer.status_code == 204

        await until(accepted, "servers know the last campaign")
    finally:
        await pool.execute("DELETE FROM campaign WHERE project_id = $1 AND id > 1", project)
