"""How PostgreSQL goes about a claim: by the indexes, whatever else lies in the tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from server.store.pool import Connection, Pool
from server.store.sql import load

CLAIM = load("queue/triggers.sql")["claim"]
FILL_RECORD = """
    INSERT INTO trigger SELECT gen_random_uuid(), 1, 44, 'email', 'x', 'a@example.com', '', '', '', ''
    FROM generate_series(1, $1::int4)
"""
FILL_LANE = "INSERT INTO queue (trigger_id, lane) SELECT id, $1 FROM trigger OFFSET $2 LIMIT $3"


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


async def claim_plan(connection: Connection) -> dict[str, Any]:
    """Claim 64 rows by the prepared statement, and return how that was done."""
    text = await connection.fetchval(
        "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE claim"
        " ('{email/smtp}', '{64}', '{1970-01-01}', 60, gen_random_uuid(), '{smtp}',"
        " '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff')"
    )
    plan: dict[str, Any] = json.loads(text)[0]["Plan"]
    return plan


@pytest.mark.usefixtures("new_tables")
async def test_a_claim_reads_only_what_it_claims(pool: Pool) -> None:
    async with pool.acquire() as connection:
        # As in a dispatcher that has run for a while: the plan was made when the queue was empty.
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        kinds = "text[], int4[], timestamptz[], float8, uuid, text[], uuid, uuid"
        await connection.execute(f"PREPARE claim ({kinds}) AS {CLAIM.text}")
        await claim_plan(connection)
        await connection.execute(FILL_RECORD, 50_200)
        await connection.execute(FILL_LANE, "email/other", 0, 50_000)
        await connection.execute(FILL_LANE, "email/smtp", 50_000, 200)
        unknown = await claim_plan(connection)
        await connection.execute("ANALYZE queue, trigger")
        analyzed = await claim_plan(connection)
        await connection.execute("DEALLOCATE claim; RESET plan_cache_mode")
    for plan in (unknown, analyzed):
        check_plan(plan)


def check_plan(plan: dict[str, Any]) -> None:
    assert plan["Actual Rows"] == 64
    found = list(nodes(plan))
    assert "queue_due" in {node.get("Index Name") for node in found}
    assert [node for node in found if node["Node Type"] == "Seq Scan"] == []
    # A node that goes through a table of 50,000 rows would show in how many it gives or leaves out.
    assert max(node["Actual Rows"] * node["Actual Loops"] for node in found) <= 64
    assert max(node.get("Rows Removed by Join Filter", 0) for node in found) == 0
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 3000
