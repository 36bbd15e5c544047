from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from server.channels.push import Push
from server.dispatcher.providers import build
from server.dispatcher.providers.fcm import FcmProvider, FcmSettings
from server.domain.delivery_errors import ProviderError, Verdict
from server.errors import ConfigError
from tests.kit.fcm_api import (
    DEVICE,
    KEY,
    Google,
    account_file,
    bad_request,
    fcm_error,
    pem,
    push,
    refusal,
)
from tests.kit.http_api import Reply, Request, http_api
from tests.kit.smtp_servers import CERTIFICATE
from tests.kit.until import until
from tests.kit.verdicts import raises

pytestmark = [
    pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning"),
]


class Harness:
    """A server that plays Google, and its providers, which are closed at the end."""

    def __init__(self, google: Google, folder: Path, closing: contextlib.AsyncExitStack) -> None:
        self.google = google
        self.file = folder / "account.json"
        self._closing = closing
        self.write()

    def write(self, **changes: object) -> None:
        self.file.write_text(account_file(self.google.api.url, **changes))

    def provider(self, **settings: object) -> FcmProvider:
        table = {
            "url": self.google.api.url,
            "service_account_file": str(self.file),
            "ca_file": str(CERTIFICATE),
        } | settings
        made = FcmProvider("fire", msgspec.convert(table, FcmSettings), Path(), clock=self.google.clock)
        self._closing.push_async_callback(made.aclose)
        return made


@contextlib.asynccontextmanager
async def running(folder: Path, tls: ssl.SSLContext | None = None) -> AsyncIterator[Harness]:
    google = Google()
    async with http_api(google.answer, tls=tls) as google.api, contextlib.AsyncExitStack() as closing:
        yield Harness(google, folder, closing)


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[Harness]:
    async with running(tmp_path) as harness:
        yield harness


@pytest.fixture
def google(harness: Harness) -> Google:
    return harness.google


async def failure(provider: FcmProvider, message: Push | None = None) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await asyncio.wait_for(provider.send(message or push()), 60)
    assert "APA91b" not in str(caught.value)
    assert "ya29" not in str(caught.value)
    assert "eyJ" not in str(caught.value)
    assert caught.value.__cause__ is None
    return caught.value


async def test_a_notification_arrives_unchanged(harness: Harness, google: Google) -> None:
    message = push()
    message_id = await harness.provider(ttl=600, priority="normal").send(message)
    assert message_id == "projects/news-46/messages/0:1%31bd1c96"
    assert google.messages == [
        {
            "token": DEVICE,
            "notification": {"title": "Grüße", "body": "Hallo Zoë 🎈"},
            "data": {"campaign_id": "46"},
            "android": {
                "priority": "NORMAL",
                "ttl": "600s",
                "notification": {"tag": str(message.trigger_id)},
            },
            "apns": {"headers": {"apns-collapse-id": str(message.trigger_id)}},
        }
    ]


async def test_a_service_account_of_another_project(harness: Harness, google: Google) -> None:
    harness.write(project_id="accounts-1")
    await harness.provider(project_id="news-46").send(push())
    assert len(google.messages) == 1


async def test_concurrent_sends_share_one_access_token(harness: Harness, google: Google) -> None:
    provider = harness.provider(concurrency=50)
    await asyncio.gather(*(provider.send(push()) for _ in range(50)))
    await provider.send(push())
    assert (len(google.issued), len(google.messages)) == (1, 51)


async def test_an_access_token_is_renewed_a_minute_early(harness: Harness, google: Google) -> None:
    provider = harness.provider()
    await provider.send(push())
    google.now += google.lifetime - 61
    await provider.send(push())
    assert len(google.issued) == 1
    google.now += 2
    await provider.send(push())
    assert len(google.issued) == 2


async def test_a_rejected_access_token_is_renewed_once(harness: Harness, google: Google) -> None:
    provider = harness.provider()
    await provider.send(push())
    google.refused.update(google.issued)
    await asyncio.gather(*(provider.send(push()) for _ in range(20)))
    assert (len(google.issued), len(google.messages)) == (2, 21)


async def test_an_access_token_rejected_twice(harness: Harness, google: Google) -> None:
    google.refused = {f"ya29.token-{number}" for number in range(10)}
    error = await failure(harness.provider())
    assert error.verdict is Verdict.PROVIDER_DOWN
    assert str(error) == "FCM HTTP 401 UNAUTHENTICATED: No."
    assert len(google.issued) == 2


async def test_a_cancelled_send_does_not_cancel_the_fetch(harness: Harness, google: Google) -> None:
    provider, google.held = harness.provider(), asyncio.Event()
    left = asyncio.create_task(provider.send(push()))
    await until(lambda: google.issued, "the token endpoint has the request")
    others = [asyncio.create_task(provider.send(push())) for _ in range(5)]
    await asyncio.sleep(0)
    left.cancel()
    google.held.set()
    await asyncio.gather(*others)
    assert left.cancelled()
    assert (len(google.issued), len(google.messages)) == (1, 5)


async def test_a_silent_token_endpoint_is_retried(harness: Harness, google: Google) -> None:
    provider = harness.provider(timeout=0.1)
    google.to_token.append(Reply(200, {}, after=30))
    errors = await asyncio.gather(*(provider.send(push()) for _ in range(3)), return_exceptions=True)
    silent = "the token endpoint failed: fire: the request was sent, but no answer arrived in time"
    assert [str(error) for error in errors] == [silent] * 3
    assert {getattr(error, "verdict", error) for error in errors} == {Verdict.PROVIDER_DOWN}
    await provider.send(push())
    assert len(google.messages) == 1


async def test_closing_cancels_a_fetch(harness: Harness, google: Google) -> None:
    provider = harness.provider()
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
    harness: Harness, google: Google, reply: Reply, expected: str
) -> None:
    provider = harness.provider()
    google.to_token.append(reply)
    error = await failure(provider)
    assert error.verdict is Verdict.PROVIDER_DOWN
    assert str(error).startswith(expected)
    await provider.send(push())
    assert len(google.messages) == 1


async def test_a_throttled_token_endpoint_has_a_retry_time(harness: Harness, google: Google) -> None:
    google.to_token.append(Reply(429, {"error": "slow_down"}, headers={"Retry-After": "9"}))
    error = await failure(harness.provider())
    assert error.verdict is Verdict.PROVIDER_DOWN
    assert error.retry_after == 9.0


async def test_an_echoed_assertion_is_not_quoted(tmp_path: Path) -> None:
    def echo(request: Request) -> Reply:
        assertion = request.form()["assertion"]
        return Reply(400, {"error": "invalid_grant", "error_description": f"bad: {assertion[5:]}"})

    google = Google()
    async with http_api(echo) as google.api, contextlib.AsyncExitStack() as closing:
        error = await failure(Harness(google, tmp_path, closing).provider())
    assert str(error) == "the token endpoint answered 400"


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (refusal(404, "NOT_FOUND", fcm_error("UNREGISTERED")), Verdict.RECIPIENT_REFUSED),
        (refusal(403, "PERMISSION_DENIED", fcm_error("SENDER_ID_MISMATCH")), Verdict.NEVER),
        (
            refusal(400, "INVALID_ARGUMENT", fcm_error("INVALID_ARGUMENT"), bad_request("message.token")),
            Verdict.NEVER,
        ),
        (
            refusal(
                400,
                "INVALID_ARGUMENT",
                fcm_error("INVALID_ARGUMENT"),
                message="The registration token is not a valid FCM registration token",
            ),
            Verdict.NEVER,
        ),
        (refusal(400, "INVALID_ARGUMENT", bad_request("message.data[0].value")), Verdict.NEVER),
        (refusal(400, "INVALID_ARGUMENT", fcm_error("INVALID_ARGUMENT")), Verdict.NEVER),
        (refusal(400, "FAILED_PRECONDITION"), Verdict.NEVER),
        (refusal(413, "SOMETHING_NEW"), Verdict.NEVER),
        (refusal(401, "UNAUTHENTICATED", fcm_error("THIRD_PARTY_AUTH_ERROR")), Verdict.PROVIDER_DOWN),
        (refusal(403, "PERMISSION_DENIED"), Verdict.PROVIDER_DOWN),
        (refusal(404, "NOT_FOUND"), Verdict.PROVIDER_DOWN),
        (refusal(409, "ABORTED"), Verdict.PROVIDER_DOWN),
        (refusal(429, "RESOURCE_EXHAUSTED", fcm_error("QUOTA_EXCEEDED")), Verdict.PROVIDER_DOWN),
        (refusal(500, "INTERNAL", fcm_error("INTERNAL")), Verdict.PROVIDER_DOWN),
        (refusal(501, "SOMETHING_NEW"), Verdict.PROVIDER_DOWN),
        (refusal(503, "UNAVAILABLE", fcm_error("UNAVAILABLE")), Verdict.PROVIDER_DOWN),
    ],
)
async def test_verdict_of_each_answer(
    harness: Harness, google: Google, reply: Reply, expected: Verdict
) -> None:
    provider = harness.provider()
    google.to_send.append(reply)
    error = await failure(provider)
    assert error.verdict is expected
    details = reply.body["error"]["details"]
    code = next((one["errorCode"] for one in details if "errorCode" in one), reply.body["error"]["status"])
    assert str(error).startswith(f"FCM HTTP {reply.status} {code}: ")
    await provider.send(push())
    assert (len(google.messages), len(google.issued)) == (1, 1)


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (429, {}, 60.0),
        (429, {"Retry-After": "7"}, 7.0),
        (429, {"Retry-After": "soon"}, 60.0),
        (503, {"Retry-After": "120"}, 120.0),
        (503, {}, None),
        (500, {}, None),
    ],
)
async def test_a_throttle_has_a_retry_time(
    harness: Harness, google: Google, status: int, headers: dict[str, str], expected: float | None
) -> None:
    google.to_send.append(Reply(status, {"error": {"status": "UNAVAILABLE"}}, headers=headers))
    error = await failure(harness.provider())
    assert error.verdict is Verdict.PROVIDER_DOWN
    assert error.retry_after == expected


async def test_tokens_in_an_answer_are_not_quoted(harness: Harness, google: Google) -> None:
    words = f"no {DEVICE} for\r\n ya29.token-0"
    google.to_send.append(refusal(400, "INVALID_ARGUMENT", bad_request("message.data"), message=words))
    expected = "FCM HTTP 400 INVALID_ARGUMENT: no [recipient] for [secret] (message.data)"
    assert str(await failure(harness.provider())) == expected


async def test_a_truncated_answer_counts_by_its_status(harness: Harness, google: Google) -> None:
    provider = harness.provider()
    yes = {"name": "projects/news-46/messages/0"}
    google.to_send += [
        Reply(200, yes, cut=100),
        Reply(400, {"error": {"status": "INVALID_ARGUMENT"}}, cut=110),
    ]
    assert await provider.send(push()) == ""
    error = await failure(provider)
    assert error.verdict is Verdict.PROVIDER_DOWN
    assert str(error) == "FCM HTTP 400: no readable error"


async def test_a_too_large_message_is_not_sent(harness: Harness, google: Google) -> None:
    provider = harness.provider()
    await provider.send(push(title="t", body="b" * 4090, data={"key": "ü"}))
    error = await failure(provider, push(title="t", body="b" * 4090, data={"key": "üü"}))
    assert error.verdict is Verdict.NEVER
    assert str(error) == "the message has 4098 bytes; FCM accepts 4096"
    assert len(google.api.requests) == 2


@pytest.mark.parametrize("token", ["", "a b", f"{DEVICE}\n", "x" * 4097, "ü" * 20, 'a"b'])
async def test_an_invalid_device_token_is_not_sent(harness: Harness, google: Google, token: str) -> None:
    with raises(Verdict.NEVER, match="is not in the format of FCM tokens"):
        await harness.provider().send(push(device_token=token))
    assert google.api.connections == 0


def test_the_repr_leaves_out_the_file() -> None:
    settings = FcmSettings(service_account_file=json.dumps({"private_key": pem(KEY)}))
    assert "PRIVATE" not in f"{settings!r} {settings} {settings.__rich_repr__()}"


_NOT_A_KEY = "is not a service account key"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"private_key": None}, f"{_NOT_A_KEY}: Object missing required field `private_key`"),
        ({"client_email": None}, f"{_NOT_A_KEY}: Object missing required field `client_email`"),
        ({"project_id": None}, f"{_NOT_A_KEY}: Object missing required field `project_id`"),
        ({"project_id": "a/../b"}, f"{_NOT_A_KEY}: Expected `str` matching"),
        ({"client_email": 7}, f"{_NOT_A_KEY}: Expected `str`, got `int` - at `$.client_email`"),
        ({"private_key": "sesame"}, "contains no readable private key in PEM form"),
        ({"private_key": pem(ec.generate_private_key(ec.SECP256R1()))}, "private_key is not an RSA key"),
        ({"token_uri": "http://oauth2.example.com/token"}, "token_uri must be an https address"),
        ({"token_uri": "https://a:b@oauth2.example.com"}, "token_uri must be an https address"),
        ({"token_uri": "https://"}, "token_uri must be an https address"),
        ({"token_uri": "nowhere"}, "token_uri must be an https address"),
    ],
)
async def test_an_invalid_service_account_is_rejected(
    harness: Harness, changes: dict[str, object], expected: str
) -> None:
    harness.write(**changes)
    with pytest.raises(ConfigError) as caught:
        harness.provider()
    assert str(caught.value).startswith(f"providers.fire.service_account_file: {expected}")
    assert "sesame" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"{", b'{"x":' + b"[" * 100_000],
    ids=["empty", "no text", "half", "deep"],
)
async def test_a_service_account_file_without_json(harness: Harness, content: bytes) -> None:
    harness.file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"fire\.service_account_file: does not contain valid JSON"):
        harness.provider()


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({}, "service_account_file: is required"),
        ({"service_account_file": ""}, "service_account_file: expected `str` of length >= 1"),
        ({"service_account_file": "/nowhere"}, "service_account_file: cannot be read: No such file"),
        ({"service_account_file": "/"}, "service_account_file: cannot be read: Is a directory"),
        ({"service_account_file": "x", "project_id": "a/b"}, "project_id: expected `str` matching"),
        ({"service_account_file": "x", "priority": "urgent"}, "priority: invalid enum value 'urgent'"),
        ({"service_account_file": "x", "ttl": 2_419_201}, "ttl: expected `int` <= 2419200"),
    ],
)
def test_an_invalid_setting_is_named(table: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build("fire", {"type": "fcm"} | table, data_dir=Path())
    assert str(caught.value).startswith(f"providers.fire.{expected}")
