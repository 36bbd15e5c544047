"""Messages to endpoints: who holds them, for how long, and what becomes of them."""

from __future__ import annotations

import datetime as dt
import json
import uuid

import pytest

from server.domain.delivery import AttemptOutcome, Released
from server.domain.webhook import POLICY, Endpoint, EndpointState, MessageState, WebhookClaim
from server.errors import EndpointNotFound
from server.store.admin.endpoints import delete_endpoint, list_endpoints, rotate_secret, send_test, set_state
from server.store.admin.webhook_log import list_log
from server.store.catalog import Catalog
from server.store.pool import Pool
from server.store.queue.webhooks import WebhookQueue
from server.store.retention import delete_messages
from tests.kit.documented_schemas import check_webhook
from tests.kit.outcomes import DEAD, DELIVERED, LOST, RETRY
from tests.kit.webhooks import an_endpoint, answered, claimed, happened, retried

OVER = 0.0  # a lease that has run out when it begins
DAY = 86_400.0


async def deleted(pool: Pool, endpoint_id: uuid.UUID) -> Endpoint:
    async with pool.acquire() as connection, connection.transaction():
        return await delete_endpoint(connection, endpoint_id)


async def one_message(pool: Pool, *, lease: float = 60) -> tuple[WebhookQueue, WebhookClaim]:
    """Create a message about one delivery for one endpoint, and claim it."""
    endpoint, queue = await an_endpoint(pool), WebhookQueue(pool)
    await happened(pool)
    [claim] = await claimed(queue, endpoint, lease=lease)
    return queue, claim


async def log_of(pool: Pool) -> tuple[MessageState, list[tuple[int, AttemptOutcome, int | None]]]:
    """Return the state of the only message, and its attempts."""
    logged = (await list_log(pool)).rows
    [state] = {one.state for one in logged}
    attempts = [(one.attempt.number, one.attempt.outcome, one.status) for one in logged if one.attempt]
    return state, sorted(attempts)


async def test_a_claim_holds_the_message_for_its_lease(pool: Pool) -> None:
    queue, claim = await one_message(pool)
    assert (claim.attempt, claim.tries, claim.type) == (1, 1, "trigger.delivered")
    assert claim.lane == f"webhook/{claim.provider}"
    assert claim.expires_at is not None
    left = claim.expires_at - dt.datetime.now(dt.UTC)
    assert POLICY.ttl - 10 < left.total_seconds() <= POLICY.ttl
    assert await queue.claim([], 60) == []
    assert await log_of(pool) == (MessageState.SENDING, [])


async def test_each_endpoint_gets_at_most_its_slots_the_oldest_first(pool: Pool) -> None:
    first, second = await an_endpoint(pool), await an_endpoint(pool)
    triggers = [await happened(pool) for _ in range(3)]
    claims = await claimed(WebhookQueue(pool), first, slots=2)
    ours = [str(trigger.id) in claim.body for trigger, claim in zip(triggers, claims, strict=False)]
    assert ours == [True, True]
    assert len(await claimed(WebhookQueue(pool), first, second)) == 1 + 3


async def test_a_yes_is_the_end(pool: Pool) -> None:
    queue, claim = await one_message(pool)
    await queue.finish([answered(claim, 204)])
    assert await log_of(pool) == (MessageState.DELIVERED, [(1, DELIVERED, 204)])
    assert await queue.waiting() == 0


async def test_failed_message_is_due_again_after_its_delay(pool: Pool) -> None:
    queue, claim = await one_message(pool)
    await queue.finish([answered(claim, 500, retry_in=600)])
    assert await log_of(pool) == (MessageState.RETRYING, [(1, RETRY, 500)])
    assert await queue.waiting() == 1
    [logged] = (await list_log(pool)).rows
    assert logged.next_attempt_at is not None
    assert 590 < (logged.next_attempt_at - dt.datetime.now(dt.UTC)).total_seconds() < 610
    await pool.execute("UPDATE webhook_queue SET due_at = now()")
    [endpoint] = await list_endpoints(pool)
    [again] = await claimed(WebhookQueue(pool), endpoint)
    assert (again.id, again.body, again.attempt) == (claim.id, claim.body, 2)


async def test_expired_lease_is_recorded_as_lost(pool: Pool) -> None:
    late, first = await one_message(pool, lease=OVER)
    [endpoint] = await list_endpoints(pool)
    other = WebhookQueue(pool)
    [second] = await claimed(other, endpoint)
    assert (second.id, second.attempt) == (first.id, 2)
    assert await log_of(pool) == (MessageState.SENDING, [(1, LOST, None)])
    await late.finish([answered(first, 204)])  # a success is recorded even without the lease
    assert await other.waiting() == 0
    await other.finish([answered(second, 500, retry_in=5)])
    assert await other.waiting() == 0
    assert await log_of(pool) == (MessageState.DELIVERED, [(1, DELIVERED, 204), (2, RETRY, 500)])


async def test_to_give_up_is_for_the_present_holder_alone(pool: Pool) -> None:
    late, first = await one_message(pool, lease=OVER)
    [endpoint] = await list_endpoints(pool)
    await claimed(WebhookQueue(pool), endpoint)
    await late.finish([answered(first, None)])
    assert await late.waiting() == 1
    assert (await log_of(pool))[0] is MessageState.SENDING


async def test_a_released_claim_counts_no_attempt(pool: Pool) -> None:
    queue, claim = await one_message(pool)
    await queue.release([Released(claim)])
    [endpoint] = await list_endpoints(pool)
    [again] = await claimed(WebhookQueue(pool), endpoint)
    assert (again.id, again.attempt) == (claim.id, 1)


async def test_an_outcome_that_is_recorded_twice_counts_once(pool: Pool) -> None:
    queue, claim = await one_message(pool)
    for _ in range(2):
        await queue.finish([answered(claim, 500, retry_in=600)])
    assert await log_of(pool) == (MessageState.RETRYING, [(1, RETRY, 500)])


@pytest.mark.parametrize(
    ("retry_in", "state"),
    [(None, MessageState.DEAD), (20_000, MessageState.RETRYING)],
    ids=["given up", "waits for another attempt"],
)
async def test_retried_message_gets_a_full_count_of_attempts(
    pool: Pool, *, retry_in: float | None, state: MessageState
) -> None:
    queue, claim = await one_message(pool)
    await happened(pool)
    assert (await list_log(pool, failed=True)).rows == []  # one is on its way, one waits
    assert await retried(pool, endpoint_id=claim.endpoint_id) == 0
    await queue.finish([answered(claim, 500, retry_in=retry_in)])
    await pool.execute("UPDATE webhook_queue SET expires_at = now() WHERE message_id = $1", claim.id)
    [failed] = (await list_log(pool, claim.endpoint_id, failed=True)).rows
    assert (failed.message_id, failed.state, failed.answer) == (claim.id, state, "said")
    assert await retried(pool, ids=[claim.id, uuid.uuid4()]) == 1
    assert await retried(pool, ids=[claim.id]) == 0
    [waits] = (await list_log(pool, failed=True)).rows
    assert (waits.message_id, waits.state) == (claim.id, MessageState.RETRYING)
    assert await queue.bury_expired("too late", "too late, in doubt") == 0
    [endpoint] = await list_endpoints(pool)
    again = next(one for one in await claimed(WebhookQueue(pool), endpoint) if one.id == claim.id)
    assert (again.attempt, again.tries) == (2, 1)


async def test_only_failed_messages_of_an_endpoint_are_retried(pool: Pool) -> None:
    one, other, queue = await an_endpoint(pool), await an_endpoint(pool), WebhookQueue(pool)
    for _ in range(3):
        await happened(pool)
    claims = await claimed(queue, one, other)
    ends = [(204, None), *[(500, None), (500, 600.0)] * 3]
    await queue.finish(
        [
            answered(claim, status, retry_in=delay)
            for claim, (status, delay) in zip(claims, ends, strict=False)
        ]
    )
    failed = (await list_log(pool, one.id, failed=True)).rows
    assert await retried(pool, endpoint_id=one.id) == len(failed) >= 2
    assert {again.id for again in await claimed(queue, one, other)} == {found.message_id for found in failed}


async def test_undeliverable_message_ends_after_three_days(pool: Pool) -> None:
    _, claim = await one_message(pool, lease=OVER)
    await set_state(pool, claim.endpoint_id, EndpointState.DISABLED)
    await pool.execute("UPDATE webhook_queue SET expires_at = now()")
    assert await WebhookQueue(pool).bury_expired("too late", "too late, in doubt") == 1
    assert await log_of(pool) == (MessageState.DEAD, [(1, LOST, None), (2, DEAD, None)])
    assert len((await list_log(pool, failed=True)).rows) == 2


async def test_gone_disables_the_endpoint_and_nothing_else_does(pool: Pool) -> None:
    queue, claim = await one_message(pool)
    await an_endpoint(pool)
    version = await pool.fetchval("SELECT version FROM catalog_version")
    await queue.finish([answered(claim, 404, retry_in=0)])
    assert {endpoint.state for endpoint in await list_endpoints(pool)} == {EndpointState.ACTIVE}
    assert await pool.fetchval("SELECT version FROM catalog_version") == version  # nothing to load anew
    [again] = [one for one in await claimed(queue, *(await list_endpoints(pool))) if one.id == claim.id]
    await queue.finish([answered(again, 410)])
    states = {
        endpoint.id: (endpoint.state, endpoint.disabled_because) for endpoint in await list_endpoints(pool)
    }
    assert states.pop(claim.endpoint_id) == (EndpointState.DISABLED, "it answered 410 Gone")
    assert [state for state, _ in states.values()] == [EndpointState.ACTIVE]
    assert await pool.fetchval("SELECT version FROM catalog_version") > version


async def test_rotation_keeps_the_old_secret_for_a_while(pool: Pool) -> None:
    endpoint = await an_endpoint(pool)
    catalog = Catalog(pool, interval=60, max_age=60, templates=False, endpoints=True)
    await catalog.refresh()
    before = catalog.webhooks[str(endpoint.id)].secrets
    rotated = await rotate_secret(pool, endpoint.id, "whsec_bmV3", dt.timedelta(hours=1))
    await catalog.refresh()
    after, now = catalog.webhooks[str(endpoint.id)].secrets, dt.datetime.now(dt.UTC)
    assert rotated is not None
    assert after.previous_until == rotated.previous_until
    assert after.at(now) == ("whsec_bmV3", before.current)
    assert after.at(now + dt.timedelta(hours=1)) == ("whsec_bmV3",)
    leaked = await rotate_secret(pool, endpoint.id, "whsec_bmV3ZXI=", dt.timedelta())
    assert leaked is not None
    assert leaked.previous_until is None
    kept = await pool.fetchrow("SELECT secret, previous_secret FROM webhook")
    assert tuple(kept or ()) == ("whsec_bmV3ZXI=", "")
    with pytest.raises(EndpointNotFound):
        await rotate_secret(pool, uuid.uuid4(), "whsec_bmV3", dt.timedelta())


async def test_a_catalog_that_sends_nothing_loads_no_secrets(pool: Pool) -> None:
    endpoint = await an_endpoint(pool)
    server = Catalog(pool, interval=60, max_age=60, templates=False)
    await server.refresh()
    assert server.webhooks == {}
    sends = Catalog(pool, interval=60, max_age=60, templates=False, endpoints=True)
    await sends.refresh()
    assert set(sends.webhooks) == {str(endpoint.id)}
    await set_state(pool, endpoint.id, EndpointState.DISABLED)
    await sends.refresh()
    assert sends.webhooks == {}


async def test_deleted_endpoint_gets_nothing_and_keeps_its_log(pool: Pool) -> None:
    queue, claim = await one_message(pool)
    await queue.finish([answered(claim, 500)])
    await happened(pool)
    assert await deleted(pool, claim.endpoint_id)
    with pytest.raises(EndpointNotFound):
        await deleted(pool, claim.endpoint_id)
    assert await queue.waiting() == 0
    assert {one.state for one in (await list_log(pool)).rows} == {MessageState.DEAD}
    assert await retried(pool, endpoint_id=claim.endpoint_id) == 0


async def test_test_message_ignores_the_chosen_events(pool: Pool) -> None:
    endpoint = await an_endpoint(pool)
    message = await send_test(pool, endpoint.id)
    [claim] = await claimed(WebhookQueue(pool), endpoint)
    assert (claim.id, claim.type) == (message, "webhook.test")
    check_webhook(json.loads(claim.body))
    assert str(endpoint.id) in claim.body
    await set_state(pool, endpoint.id, EndpointState.DISABLED)
    with pytest.raises(EndpointNotFound):
        await send_test(pool, endpoint.id)


@pytest.mark.parametrize(("age", "forgotten"), [(29 * DAY, 0), (31 * DAY, 2)])
async def test_messages_and_their_log_are_forgotten_after_their_time(
    pool: Pool, *, age: float, forgotten: int
) -> None:
    queue, claim = await one_message(pool)
    await queue.finish([answered(claim, 500)])
    await happened(pool)
    await pool.execute("UPDATE webhook_message SET created_at = now() - make_interval(secs => $1)", age)
    assert await delete_messages(pool, 30 * DAY) == forgotten
    attempts = await pool.fetchval("SELECT count(*) FROM webhook_attempt")
    assert (attempts, await queue.waiting()) == ((0, 0) if forgotten else (1, 1))
