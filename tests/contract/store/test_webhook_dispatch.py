"""Messages on their way: PostgreSQL, the dispatcher, and receivers that do as receivers do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from server.config import load
from server.domain.delivery import AttemptOutcome
from server.domain.webhook import POLICY, Endpoint, EndpointState, MessageState
from server.errors import ConfigError, EndpointNotFound
from server.store.admin.endpoints import list_endpoints, send_test
from server.store.admin.webhook_log import list_log
from server.store.catalog import Catalog
from server.store.pool import Pool
from server.store.queue.webhooks import WebhookQueue
from server.wiring.dispatch import webhook_dispatcher
from server.wiring.webhooks import build_poster, url_problems
from tests.kit.http_api import Reply, Request, http_api
from tests.kit.outcomes import DEAD, DELIVERED, LOST, RETRY
from tests.kit.until import until
from tests.kit.webhooks import an_endpoint, happened

SETTINGS = {
    "CLARION_WEBHOOKS_ALLOW": "127.0.0.0/8",
    "CLARION_DISPATCH_POLL_INTERVAL": "0.05",
    "CLARION_DISPATCH_SHUTDOWN_GRACE": "0.2",
}


@pytest.fixture(autouse=True)
def logs() -> Iterator[Any]:
    with capture_logs() as lines:
        yield lines


@asynccontextmanager
async def dispatching(pool: Pool, **env: str) -> AsyncIterator[None]:
    """Run a dispatcher of messages for the block, as `clarion dispatch` does."""
    settings = load(None, {**SETTINGS, **env})
    catalog, posts = (
        Catalog(pool, interval=0.02, max_age=60, templates=False, endpoints=True),
        build_poster(settings),
    )
    await catalog.refresh()
    dispatcher = webhook_dispatcher(WebhookQueue(pool), catalog, posts, settings)
    renewing, running = asyncio.create_task(catalog.run()), asyncio.create_task(dispatcher.run())
    try:
        yield
    finally:
        dispatcher.stop()
        await asyncio.wait_for(running, 60)
        renewing.cancel()
        await posts.aclose()


async def attempts(pool: Pool, endpoint: Endpoint) -> list[tuple[AttemptOutcome, int | None]]:
    """Return how the attempts to an endpoint ended, the first first."""
    logged = (await list_log(pool, endpoint.id, limit=1000)).rows
    return [(one.attempt.outcome, one.status) for one in reversed(logged) if one.attempt]


async def until_attempts(pool: Pool, endpoint: Endpoint, count: int) -> list[Any]:
    async def made() -> bool:
        return len(await attempts(pool, endpoint)) >= count

    await until(made, f"{count} attempts")
    return await attempts(pool, endpoint)


async def hurry(pool: Pool) -> None:
    """Let what waits for its next attempt be due."""
    await pool.execute("UPDATE webhook_queue SET due_at = now() WHERE claimed_by IS NULL")


async def test_retries_keep_the_message_id(pool: Pool) -> None:
    async with http_api() as api, dispatching(pool):
        endpoint = await an_endpoint(pool, url=f"{api.url}/hook?token=t")  # made while it runs
        api.script += [Reply(500, b"broken: zoe@example.org +12025550123"), Reply(429)]
        message = await send_test(pool, endpoint.id)
        for count in (1, 2):
            await until_attempts(pool, endpoint, count)
            await hurry(pool)
        found = await until_attempts(pool, endpoint, 3)
    assert found == [(RETRY, 500), (RETRY, 429), (DELIVERED, 200)]
    assert {request.headers["webhook-id"] for request in api.requests} == {str(message)}
    assert len({request.body for request in api.requests}) == 1
    first = (await list_log(pool, endpoint.id)).rows[-1]
    assert first.answer == "broken: [hidden] [hidden]"


async def test_message_has_the_trace_context_of_its_trigger(pool: Pool) -> None:
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with http_api() as api, dispatching(pool):
        endpoint = await an_endpoint(pool, url=f"{api.url}/hook")
        await happened(pool, traceparent=traceparent)
        await until_attempts(pool, endpoint, 1)
        await happened(pool)
        await until_attempts(pool, endpoint, 2)
    assert [request.headers.get("traceparent") for request in api.requests] == [traceparent, None]


async def test_410_disables_only_that_endpoint(pool: Pool) -> None:
    async with http_api() as api, dispatching(pool):
        gone, there = await an_endpoint(pool, url=f"{api.url}/gone"), await an_endpoint(pool, url=api.url)
        api.script.append(Reply(410))
        await send_test(pool, gone.id)
        assert await until_attempts(pool, gone, 1) == [(DEAD, 410)]
        await send_test(pool, there.id)
        assert await until_attempts(pool, there, 1) == [(DELIVERED, 200)]
        with pytest.raises(EndpointNotFound):
            await send_test(pool, gone.id)
    states = {endpoint.id: endpoint.state for endpoint in await list_endpoints(pool)}
    assert states == {gone.id: EndpointState.DISABLED, there.id: EndpointState.ACTIVE}


async def test_a_redirect_to_loopback_is_a_failure(pool: Pool) -> None:
    async with http_api() as secret, http_api() as api, dispatching(pool):
        api.script.append(Reply(302, headers={"Location": f"{secret.url}/latest/meta-data/"}))
        endpoint = await an_endpoint(pool, url=api.url)
        await send_test(pool, endpoint.id)
        assert await until_attempts(pool, endpoint, 1) == [(RETRY, 302)]
    [logged] = (await list_log(pool, endpoint.id)).rows
    assert logged.attempt is not None
    assert logged.attempt.error == "HTTP 302: redirects are not followed; give the endpoint's final URL"
    assert secret.connections == 0


async def test_a_name_that_leads_to_loopback_later_is_refused(pool: Pool) -> None:
    async with http_api() as api, dispatching(pool, CLARION_WEBHOOKS_ALLOW="10.9.0.0/16"):
        endpoint = await an_endpoint(pool, url=api.url.replace("127.0.0.1", "localhost"))
        await send_test(pool, endpoint.id)
        assert await until_attempts(pool, endpoint, 1) == [(RETRY, None)]
    [logged] = (await list_log(pool, endpoint.id)).rows
    assert logged.attempt is not None
    assert "is not a public address; to allow it, add its network to [webhooks] allow" in logged.attempt.error
    assert api.connections == 0


async def test_a_hanging_endpoint_delays_no_other(pool: Pool) -> None:
    received: set[str] = set()

    def answer(request: Request) -> Reply:
        received.add(request.headers["webhook-id"])
        return Reply(200)

    never = Reply(held=asyncio.Event())
    async with http_api(lambda _: never) as stuck, http_api(answer) as api, dispatching(pool):
        hangs, works = await an_endpoint(pool, url=stuck.url), await an_endpoint(pool, url=api.url)
        for _ in range(50):
            await send_test(pool, hangs.id)
        await until(lambda: len(stuck.requests) == 4, "all slots of the endpoint are in use")
        for _ in range(20):
            message = str(await send_test(pool, works.id))
            await until(lambda: message in received, "the other endpoint has the message")  # noqa: B023
        assert not await attempts(pool, hangs)
        assert len(stuck.requests) == 4  # its slots, all in use
    assert [outcome for outcome, _ in await attempts(pool, hangs)] == [LOST] * 4  # cut off by the end


async def test_messages_wait_while_the_breaker_is_open(pool: Pool) -> None:
    async with http_api(lambda _: Reply(503)) as api, dispatching(pool, CLARION_WEBHOOKS_CONCURRENCY="1"):
        endpoint = await an_endpoint(pool, url=api.url)
        for _ in range(12):
            await send_test(pool, endpoint.id)
        await until_attempts(pool, endpoint, 5)
        await asyncio.sleep(0.2)
        made = await attempts(pool, endpoint)
        assert set(made) == {(RETRY, 503)}
        assert len(made) < 12  # five open the breaker; on a busy machine, single tries may follow
    assert {one.state for one in (await list_log(pool)).rows} == {MessageState.PENDING, MessageState.RETRYING}


@pytest.mark.parametrize(
    ("made", "end", "requests", "error"),
    [
        (POLICY.max_attempts - 2, (RETRY, 500), 1, "HTTP 500"),
        (POLICY.max_attempts - 1, (DEAD, 500), 1, "HTTP 500"),
        (POLICY.max_attempts, (DEAD, None), 0, "no attempts left; the outcome of the last one is unknown"),
    ],
)
async def test_a_message_is_given_up_after_its_last_attempt(
    pool: Pool, *, made: int, end: tuple[AttemptOutcome, int | None], requests: int, error: str
) -> None:
    async with http_api(lambda _: Reply(500)) as api:
        endpoint = await an_endpoint(pool, url=api.url)
        await send_test(pool, endpoint.id)
        await pool.execute("UPDATE webhook_queue SET attempt = $1", made)
        async with dispatching(pool):
            assert await until_attempts(pool, endpoint, 1) == [end]
        assert len(api.requests) == requests
    assert [one.attempt.error for one in (await list_log(pool)).rows if one.attempt] == [error]
    state = MessageState.DEAD if end[0] is DEAD else MessageState.RETRYING
    assert [one.state for one in (await list_log(pool, failed=True)).rows] == [state]


async def test_an_attempt_is_logged_without_private_data(pool: Pool, logs: Any) -> None:
    async with http_api(lambda _: Reply(400, b"zoe@example.org")) as api, dispatching(pool):
        endpoint = await an_endpoint(pool, url=f"{api.url}/hook?token=hush")
        message = await send_test(pool, endpoint.id)
        await until_attempts(pool, endpoint, 1)
    [line] = [line for line in logs if line["event"] == "webhook_attempt"]
    assert line.pop("duration_ms") > 0
    assert 0 <= line.pop("next_retry_in_s") <= 5
    assert line == {
        "event": "webhook_attempt",
        "log_level": "warning",
        "webhook_id": str(endpoint.id),
        "message_id": str(message),
        "type": "webhook.test",
        "attempt": 1,
        "outcome": "retry",
        "status": 400,
        "error": "HTTP 400",
    }
    for private in ("hush", "zoe", "whsec"):
        assert private not in str(logs)


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"CLARION_WEBHOOKS_ALLOW": "10.0.0.0/33"}, "webhooks.allow: '10.0.0.0/33'"),
        ({"CLARION_WEBHOOKS_CA_FILE": "none.pem"}, "webhooks.ca_file: cannot be used"),
    ],
)
def test_an_invalid_setting_is_reported(env: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_poster(load(None, env))
    assert str(caught.value).startswith(said)


async def test_a_loopback_url_is_rejected_when_configured() -> None:
    problems = await url_problems(load(None, {}), "https://localhost/")  # of one address, or of two
    assert problems
    assert all("is not a public address" in problem for problem in problems)
    assert await url_problems(load(None, SETTINGS), "http://127.0.0.1/") == []
