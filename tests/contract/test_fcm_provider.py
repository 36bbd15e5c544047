from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from server.dispatcher.providers import build
from server.dispatcher.providers.fcm import FcmSettings
from server.domain.delivery_errors import Verdict
from server.errors import ConfigError
from tests.kit.fcm_api import (
    DEVICE,
    KEY,
    Google,
    bad_request,
    fcm_error,
    pem,
    push,
    refusal,
)
from tests.kit.fcm_provider import FcmProviders, failure
from tests.kit.http_api import Reply
from tests.kit.verdicts import raises

pytestmark = [
    pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning"),
]


async def test_a_notification_arrives_unchanged(fcm: FcmProviders, google: Google) -> None:
    message = push()
    message_id = await fcm.provider(ttl=600, priority="normal").send(message)
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


async def test_a_service_account_of_another_project(fcm: FcmProviders, google: Google) -> None:
    fcm.write(project_id="accounts-1")
    await fcm.provider(project_id="news-46").send(push())
    assert len(google.messages) == 1


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
    fcm: FcmProviders, google: Google, reply: Reply, expected: Verdict
) -> None:
    provider = fcm.provider()
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
    fcm: FcmProviders, google: Google, status: int, headers: dict[str, str], expected: float | None
) -> None:
    google.to_send.append(Reply(status, {"error": {"status": "UNAVAILABLE"}}, headers=headers))
    error = await failure(fcm.provider())
    assert error.verdict is Verdict.PROVIDER_DOWN
    assert error.retry_after == expected


async def test_tokens_in_an_answer_are_not_quoted(fcm: FcmProviders, google: Google) -> None:
    words = f"no {DEVICE} for\r\n ya29.token-0"
    google.to_send.append(refusal(400, "INVALID_ARGUMENT", bad_request("message.data"), message=words))
    expected = "FCM HTTP 400 INVALID_ARGUMENT: no [recipient] for [secret] (message.data)"
    assert str(await failure(fcm.provider())) == expected


async def test_a_truncated_answer_counts_by_its_status(fcm: FcmProviders, google: Google) -> None:
    provider = fcm.provider()
    yes = {"name": "projects/news-46/messages/0"}
    google.to_send += [
        Reply(200, yes, cut=100),
        Reply(400, {"error": {"status": "INVALID_ARGUMENT"}}, cut=110),
    ]
    assert await provider.send(push()) == ""
    error = await failure(provider)
    assert error.verdict is Verdict.PROVIDER_DOWN
    assert str(error) == "FCM HTTP 400: no readable error"


async def test_a_too_large_message_is_not_sent(fcm: FcmProviders, google: Google) -> None:
    provider = fcm.provider()
    await provider.send(push(title="t", body="b" * 4090, data={"key": "ü"}))
    error = await failure(provider, push(title="t", body="b" * 4090, data={"key": "üü"}))
    assert error.verdict is Verdict.NEVER
    assert str(error) == "the message has 4098 bytes; FCM accepts 4096"
    assert len(google.api.requests) == 2


@pytest.mark.parametrize("token", ["", "a b", f"{DEVICE}\n", "x" * 4097, "ü" * 20, 'a"b'])
async def test_an_invalid_device_token_is_not_sent(fcm: FcmProviders, google: Google, token: str) -> None:
    with raises(Verdict.NEVER, match="is not in the format of FCM tokens"):
        await fcm.provider().send(push(device_token=token))
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
    fcm: FcmProviders, changes: dict[str, object], expected: str
) -> None:
    fcm.write(**changes)
    with pytest.raises(ConfigError) as caught:
        fcm.provider()
    assert str(caught.value).startswith(f"providers.fire.service_account_file: {expected}")
    assert "sesame" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"{", b'{"x":' + b"[" * 100_000],
    ids=["empty", "no text", "half", "deep"],
)
async def test_a_service_account_file_without_json(fcm: FcmProviders, content: bytes) -> None:
    fcm.file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"fire\.service_account_file: does not contain valid JSON"):
        fcm.provider()


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
