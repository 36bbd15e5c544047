"""The webhook log, and the page of a delivery, read a bounded number of rows, however many there are."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from server.store.admin import webhook_log
from server.store.admin.webhook_log import list_log, list_log_of_trigger
from server.store.pool import Pool, reading
from server.store.records.admin_pages import find_detail
from server.store.records.waiting import find_waiting
from tests.contract.store.test_admin_plans import BOUND, FILL
from tests.kit.query_plans import Explained

ENDPOINTS = [uuid.UUID(int=number) for number in range(1, 5)]
FILL_LOG = """
    INSERT INTO webhook (id, project_id, url, events, secret)
        SELECT id, 1 + place % 2, 'https://example.com/', '{trigger.delivered}', 's'
        FROM unnest($1::uuid[]) WITH ORDINALITY AS endpoint (id, place);
"""
FILL_MESSAGES = """
    INSERT INTO webhook_message (id, webhook_id, trigger_id, type, body, created_at, failed_at)
        SELECT (lpad(n::text, 32, '0'))::uuid, w.id, t.id, 'trigger.delivered', '',
            now() - n * interval '1 s', CASE WHEN n % 21 = 0 THEN now() END
        FROM generate_series(1, 8000) AS n
        JOIN (SELECT id, row_number() OVER (ORDER BY id) AS place FROM webhook) AS w ON w.place = 1 + n % 4
        JOIN (SELECT id, row_number() OVER (ORDER BY id) AS place FROM trigger) AS t
            ON t.place = 1 + n % 4000;
    INSERT INTO webhook_attempt (message_id, number, outcome, status, started_at, duration, error, answer)
        SELECT id, 1, CASE WHEN failed_at IS NULL THEN 'delivered' ELSE 'dead' END, 204, now(), 0.1, '', ''
        FROM webhook_message;
    INSERT INTO webhook_queue (message_id, webhook_id, expires_at, attempt)
        SELECT id, webhook_id, now() + interval '1 day', 1 FROM webhook_message
        WHERE failed_at IS NULL ORDER BY created_at LIMIT {queued};
    ANALYZE webhook, webhook_message, webhook_attempt, webhook_queue
"""
WANTED: dict[str, Any] = {
    "all": {},
    "of an endpoint": {"endpoint_id": ENDPOINTS[0]},
    "of projects": {"projects": [1]},
    "of an endpoint of projects": {"endpoint_id": ENDPOINTS[1], "projects": [1]},
}


@pytest.fixture
async def explained(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> Explained:
    monkeypatch.setattr(webhook_log, "_SCANNED", BOUND)
    await pool.execute(FILL)
    await pool.execute("TRUNCATE webhook, webhook_message, webhook_attempt, webhook_queue")
    await pool.execute(FILL_LOG.rstrip().removesuffix(";"), ENDPOINTS)
    return Explained(pool)


@pytest.mark.usefixtures("new_tables")
@pytest.mark.parametrize("queued", [BOUND // 2, 4000])
async def test_each_page_of_the_log_is_bounded(explained: Explained, pool: Pool, queued: int) -> None:
    await pool.execute(FILL_MESSAGES.format(queued=queued))
    short = {"webhook_queue"} if queued < BOUND else set()  # is read from end to end
    for name, wanted in WANTED.items():
        for failed in (False, True):
            page: Any = await list_log(pool, **wanted, failed=failed, limit=20)
            for after in (None, page.end):
                explained.most_of_all, explained.scanned = 0, set()
                await list_log(explained, **wanted, failed=failed, after=after, limit=20)  # type: ignore[arg-type]
                # Of each of two endpoints, one row more than the bound may be read, to sort.
                wrong = (explained.most_of_all > 2 * (BOUND + 1), explained.scanned - short)
                assert wrong == (False, set()), f"{name}, failed={failed}, after={after}"


@pytest.mark.usefixtures("new_tables")
async def test_a_delivery_is_found_by_indexes(explained: Explained, pool: Pool) -> None:
    await pool.execute(FILL_MESSAGES.format(queued=4000))
    [sent] = await pool.fetch("SELECT trigger_id FROM webhook_message ORDER BY id LIMIT 1")
    [waiting] = await pool.fetch("SELECT trigger_id FROM queue ORDER BY trigger_id DESC LIMIT 1")
    for row in (sent, waiting):
        trigger_id = row["trigger_id"]
        async with reading(explained) as connection:  # type: ignore[arg-type]
            found = await find_detail(connection, trigger_id)
            assert found
            await find_waiting(connection, trigger_id, [])
            logged = await list_log_of_trigger(connection, trigger_id, 50)
        assert {one.trigger_id for one in logged} <= {trigger_id}
    assert explained.scanned <= {"project", "api_key"}
    assert explained.most_of_all <= 500  # what is queued ahead is counted, up to MOST_AHEAD
