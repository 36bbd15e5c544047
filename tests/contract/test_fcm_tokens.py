"""The FCM provider's access tokens: shared, renewed, rejected, and not quoted."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from server.domain.delivery_errors import Verdict
from tests.kit.fcm_api import (
    Google,
    push,
)
from tests.kit.fcm_provider import FcmProviders, failure
from tests.kit.http_api import Reply, Request, http_api
from tests.kit.until import until

pytestmark = [
    pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning"),
]


async def test_concurrent_sends_share_one_access_token(fcm: FcmProviders, google: Google) -> None:
    provider = fcm.provider(concurrency=50)
    await asyncio.gather(*(provider.send(push()) for _ in range(50)))
    await provider.send(push())
    assert (len(google.issued), len(google.messages)) == (1, 51)


async def test_an_access_token_is_renewed_a_minute_early(fcm: FcmProviders, google: Google) -> None:
    provider = fcm.provider()
    await provider.send(push())
    google.now += google.lifetime - 61
    await provider.send(push())
    assert len(google.issued) == 1
    google.now += 2
    await provider.send(push())
    assert len(google.issued) == 2


async def test_a_rejected_access_token_is_renewed_once(fcm: FcmProviders, google: Google) -> None:
    provider = fcm.provider()
    await provider.send(push())
    google.refused.update(google.issued)
    await asyncio.gather(*(provider.send(push()) for _ in range(20)))
    assert (len(google.issued), len(google.messages)) == (2, 21)


async def test_an_access_token_rejected_twice(fcm: FcmProviders, google: Google) -> None:
    google.refused = {f"ya29.token-{number}" for number in range(10)}
    error = await failure(fcm.provider())
    assert error.verdict is Verdict.PROVIDER_DOWN
    assert str(error) == "FCM HTTP 401 UNAUTHENTICATED: No."
    assert len(google.issued) == 2


async def test_a_cancelled_send_does_not_cancel_the_fetch(fcm: FcmProviders, google: Google) -> None:
    provider, google.held = fcm.provider(), asyncio.Event()
    left = asyncio.create_task(provider.send(push()))
    await until(lambda: google.issued, "the token endpoint has the request")
    others = [asyncio.create_task(provider.send(push())) for _ in range(5)]
    await asyncio.sleep(0)
    left.cancel()
    google.held.set()
    await asyncio.gather(*others)
    assert left.cancelled()
    assert (len(google.issued), len(google.messages)) == (1, 5)


async def test_a_silent_token_endpoint_is_retried(fcm: FcmProviders, google: Google) -> None:
    provider = fcm.provider(timeout=2.0)
    google.to_token.append(Reply(200, {}, after=30))
    errors = await asyncio.gather(*(provider.send(push()) for _ in range(3)), return_exceptions=True)
    silent = "the token endpoint failed: fire: the request was sent, but no answer arrived in time"
    assert [str(error) for error in errors] == [silent] * 3
    assert {getattr(error, "verdict", error) for error in errors} == {Verdict.PROVIDER_DOWN}
    await provider.send(push())
    assert len(google.messages) == 1


async def test_closing_cancels_a_fetch(fcm: FcmProviders, google: Google) -> None:
    provider = fcm.provider()
    google.held = asyncio.Event()
    sending = asyncio.create_task(provider.send(push()))
    await until(lambda: google.issued, "the token endpoint has the request")
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    assert sending.cancelled()
    await asyncio.wait_for(provider.aclose(), 60)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (
            Reply(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}),
            "the token endpoint answered 400 invalid_grant Invalid JWT Signature.",
        ),
        (Reply(401, {"error": "invalid_client"}), "the token endpoint answered 401 invalid_client"),
        (Reply(503, b"<html>"), "the token endpoint answered 503"),
        (Reply(302, headers={"Location": "/elsewhere"}), "the token endpoint answered 302"),
        (Reply(500, {"error": ["?"]}), "the token endpoint answered 500"),
        (Reply(200, b"<html>"), "the token endpoint answered 200 without an access token"),
        (Reply(200, {"id_token": "x"}), "the token endpoint answered 200 without an access token"),
        (Reply(200, {"access_token": "a\r\nb"}), "the token endpoint answered 200 without an access token"),
        (
            Reply(200, {"access_token": "ya29", "expires_in": -1}),
            "the token endpoint answered 200 without an access token",
        ),
        (Reply(cut=0), "the token endpoint failed: fire gave no answer: RemoteProtocolError"),
        (Reply(200, {"access_token": "x"}, cut=60), "the token endpoint failed: fire gave no answer"),
    ],
)
async def test_a_rejecting_token_endpoint_is_transient(
    fcm: FcmProviders, google: Google, reply: Reply, expected: str
) -> None:
    provider = fcm.provider()
    google.to_token.append(reply)
    error = await failure(provider)
    assert error.verdict is Verdict.PROVIDER_DOWN
    assert str(error).startswith(expected)
    await provider.send(push())
    assert len(google.messages) == 1


async def test_a_throttled_token_endpoint_has_a_retry_time(fcm: FcmProviders, google: Google) -> None:
    google.to_token.append(Reply(429, {"error": "slow_down"}, headers={"Retry-After": "9"}))
    error = await failure(fcm.provider())
    assert error.verdict is Verdict.PROVIDER_DOWN
    assert error.retry_after == 9.0


async def test_an_echoed_assertion_is_not_quoted(tmp_path: Path) -> None:
    def echo(request: Request) -> Reply:
        assertion = request.form()["assertion"]
        return Reply(400, {"error": "invalid_grant", "error_description": f"bad: {assertion[5:]}"})

    google = Google()
    async with http_api(echo) as google.api, contextlib.AsyncExitStack() as closing:
        error = await failure(FcmProviders(google, tmp_path, closing).provider())
    assert str(error) == "the token endpoint answered 400"
