from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from server.dispatcher.providers import build
from server.dispatcher.providers.apns import HOSTS, ApnsSettings
from server.domain.delivery_errors import Verdict
from server.errors import ConfigError
from tests.kit.apns_provider import DEVICE, KEY, ApnsProviders, failure, pem, push
from tests.kit.apns_server import KEY_ID, TEAM_ID, TOPIC, ApnsReply, ApnsServer, apns_server
from tests.kit.clock import FakeClock
from tests.kit.verdicts import raises

MINUTE = 60.0


async def test_a_notification_arrives_unchanged(apple: ApnsProviders) -> None:
    message = push(data={"campaign_id": "46", "aps": "mine"})
    async with apns_server(KEY) as apns:
        message_id = await apple.provider(apns).send(message)
    (taken,) = apns.accepted
    assert taken.path == f"/3/device/{DEVICE}"
    assert taken.payload == {
        "aps": {"alert": {"title": "Grüße", "body": "Hallo Zoë 🎈"}, "sound": "default"},
        "campaign_id": "46",
    }
    assert taken.headers["apns-id"] == taken.headers["apns-collapse-id"] == str(message.trigger_id)
    assert message_id == str(message.trigger_id).upper()  # the server's own words


@pytest.mark.parametrize(("ttl", "expected"), [(0, "0"), (3600, "1700003600")])
async def test_the_ttl_sets_the_expiration(apple: ApnsProviders, ttl: int, expected: str) -> None:
    async with apns_server(KEY, clock=lambda: 1_700_000_000.0) as apns:
        await apple.provider(apns, clock=lambda: 1_700_000_000.9, ttl=ttl).send(push())
    assert apns.accepted[0].headers["apns-expiration"] == expected


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (400, "BadDeviceToken", Verdict.NEVER),
        (400, "DeviceTokenNotForTopic", Verdict.NEVER),
        (400, "MissingDeviceToken", Verdict.NEVER),
        (410, "ExpiredToken", Verdict.RECIPIENT_REFUSED),
        (410, "Unregistered", Verdict.RECIPIENT_REFUSED),
        (400, "BadCollapseId", Verdict.NEVER),
        (400, "BadMessageId", Verdict.NEVER),
        (400, "PayloadEmpty", Verdict.NEVER),
        (413, "PayloadTooLarge", Verdict.NEVER),
        (400, "SomethingNew", Verdict.NEVER),
        (400, "BadExpirationDate", Verdict.PROVIDER_DOWN),
        (400, "BadPriority", Verdict.PROVIDER_DOWN),
        (400, "BadTopic", Verdict.PROVIDER_DOWN),
        (400, "DuplicateHeaders", Verdict.PROVIDER_DOWN),
        (400, "IdleTimeout", Verdict.PROVIDER_DOWN),
        (400, "InvalidPushType", Verdict.PROVIDER_DOWN),
        (400, "MissingTopic", Verdict.PROVIDER_DOWN),
        (400, "TopicDisallowed", Verdict.PROVIDER_DOWN),
        (403, "BadCertificate", Verdict.PROVIDER_DOWN),
        (403, "BadCertificateEnvironment", Verdict.PROVIDER_DOWN),
        (403, "BadEnvironmentKeyIdInToken", Verdict.PROVIDER_DOWN),
        (403, "ExpiredProviderToken", Verdict.PROVIDER_DOWN),
        (403, "Forbidden", Verdict.PROVIDER_DOWN),
        (403, "InvalidProviderToken", Verdict.PROVIDER_DOWN),
        (403, "MissingProviderToken", Verdict.PROVIDER_DOWN),
        (403, "UnrelatedKeyIdInToken", Verdict.PROVIDER_DOWN),
        (404, "BadPath", Verdict.PROVIDER_DOWN),
        (405, "MethodNotAllowed", Verdict.PROVIDER_DOWN),
        (429, "TooManyProviderTokenUpdates", Verdict.PROVIDER_DOWN),
        (500, "InternalServerError", Verdict.PROVIDER_DOWN),
        (503, "ServiceUnavailable", Verdict.PROVIDER_DOWN),
        (503, "Shutdown", Verdict.PROVIDER_DOWN),
        (503, "SomethingNew", Verdict.PROVIDER_DOWN),
    ],
)
async def test_verdict_of_each_answer(
    apple: ApnsProviders, status: int, reason: str, expected: Verdict
) -> None:
    async with apns_server(KEY) as apns:
        provider = apple.provider(apns)
        apns.script.append(ApnsReply(status, reason))
        error = await failure(provider)
        assert error.verdict is expected
        assert str(error) == f"APNs HTTP {status}: {reason}"
        await provider.send(push())
    assert (apns.connections, len(apns.received)) == (1, 2)


async def test_a_throttled_device_has_a_retry_time(apple: ApnsProviders) -> None:
    async with apns_server(KEY) as apns:
        apns.script.append(ApnsReply(429, "TooManyRequests", headers=(("retry-after", "17"),)))
        error = await failure(apple.provider(apns))
    assert (error.retry_after, error.verdict) == (17.0, Verdict.LATER)


async def test_an_unregistered_token_has_a_timestamp(apple: ApnsProviders) -> None:
    async with apns_server(KEY) as apns:
        apns.script.append(ApnsReply(410, "Unregistered", timestamp=1_700_000_000_000))
        error = await failure(apple.provider(apns))
    assert str(error) == "APNs HTTP 410: Unregistered since 2023-11-14T22:13:20Z"


async def test_a_provider_token_is_used_for_50_minutes(apple: ApnsProviders) -> None:
    clock = FakeClock(time.time())
    async with apns_server(KEY, clock=clock) as apns:
        provider = apple.provider(apns, clock=clock)
        for _ in range(5):
            await provider.send(push())
            clock.advance(12 * MINUTE)
        assert len(apns.tokens) == 1
        await provider.send(push())
    assert (len(apns.tokens), len(apns.accepted)) == (2, 6)


async def test_an_expired_provider_token_is_renewed(apple: ApnsProviders) -> None:
    ours, theirs = FakeClock(time.time()), FakeClock(time.time())
    async with apns_server(KEY, clock=theirs) as apns:
        provider = apple.provider(apns, clock=ours)
        await provider.send(push())
        ours.now += 25 * MINUTE
        apns.script += [ApnsReply(403, "ExpiredProviderToken", after=0.02)] * 10
        theirs.now += 25 * MINUTE
        await asyncio.gather(*(provider.send(push()) for _ in range(10)))
    assert (len(apns.tokens), len(apns.accepted), len(apns.received)) == (2, 11, 21)


async def test_a_provider_token_lasts_at_least_20_minutes(apple: ApnsProviders) -> None:
    clock = FakeClock(time.time())
    async with apns_server(KEY, clock=lambda: clock.now + 2 * 60 * MINUTE) as apns:  # never in agreement
        provider = apple.provider(apns, clock=clock)
        for _ in range(8):
            assert "ExpiredProviderToken" in str(await failure(provider))
            clock.advance(3 * MINUTE)
    assert (len(apns.tokens), len(apns.received)) == (2, 9)  # the message of the 21st minute was sent twice


async def test_a_clock_set_back_renews_the_token(apple: ApnsProviders) -> None:
    clock = FakeClock(time.time())
    async with apns_server(KEY, clock=clock) as apns:
        provider = apple.provider(apns, clock=clock)
        clock.advance(-60 * MINUTE)
        await provider.send(push())
    assert len(apns.accepted) == 1


async def test_a_too_large_message_is_not_sent(apple: ApnsProviders) -> None:
    fits = 4096 - len('{"aps":{"alert":{"title":"","body":""},"sound":"default"}}')
    async with apns_server(KEY) as apns:
        provider = apple.provider(apns)
        await provider.send(push(title="", body="x" * fits, data={}))
        error = await failure(provider, push(title="", body="x" * (fits - 1) + "ü", data={}))
    assert len(apns.accepted[0].body) == 4096
    assert error.verdict is Verdict.NEVER
    assert str(error) == "the message has 4097 bytes; APNs accepts 4096"
    assert len(apns.received) == 1


@pytest.mark.parametrize(
    "token", ["", "DEVICE_TOKEN", "abc123", "ab" * 101, f"{DEVICE}/../x", f"{DEVICE}\n", "\u0660" * 64]
)
async def test_an_invalid_device_token_is_not_sent(apple: ApnsProviders, token: str) -> None:
    async with apns_server(KEY) as apns:
        with raises(Verdict.NEVER, match="is not in the format of APNs tokens"):
            await apple.provider(apns).send(push(device_token=token))
    assert apns.connections == 0


async def test_a_truncated_answer_counts_by_its_status(apple: ApnsProviders) -> None:
    async with apns_server(KEY) as apns:
        provider, message = apple.provider(apns), push()
        apns.script += [ApnsReply(200, body=b"{}", then="cut"), ApnsReply(400, "BadDeviceToken", then="cut")]
        apns.script.append(ApnsReply(410, "Unregistered", then="cut"))
        assert await provider.send(message) == str(message.trigger_id)
        for status in (400, 410):
            error = await failure(provider)
            assert error.verdict is Verdict.PROVIDER_DOWN
            assert str(error) == f"APNs HTTP {status}: no readable reason"


def test_the_repr_leaves_out_the_file(key_file: Path) -> None:
    settings = ApnsSettings(key_file=pem(KEY).decode(), key_id=KEY_ID, team_id=TEAM_ID, topic=TOPIC)
    assert "PRIVATE" not in f"{settings!r} {settings} {settings.__rich_repr__()}"


@pytest.mark.parametrize(("environment", "host"), HOSTS.items())
async def test_the_environment_selects_the_host(apple: ApnsProviders, environment: str, host: str) -> None:
    provider = build("apple", apple.table | {"type": "apns", "environment": environment}, data_dir=Path())
    assert str(provider._api._client.base_url).rstrip("/") == host  # type: ignore[attr-defined]
    await provider.aclose()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"key_file": "/nowhere/key.p8"}, "key_file: cannot be read: No such file or directory"),
        ({"key_file": "a\0b"}, "key_file: cannot be read: is not a path"),
        ({"key_file": __file__}, "key_file: contains no readable private key in PEM form"),
        ({"key_id": "short"}, "key_id: expected `str` matching"),
        ({"team_id": "TEAM567890\n"}, "team_id: expected `str` matching"),
        ({"topic": "com example\r\nx: y"}, "topic: expected `str` matching"),
        ({"environment": "staging"}, "environment: invalid enum value 'staging'"),
        ({"ttl": -1}, "ttl: expected `int` >= 0"),
    ],
)
async def test_an_invalid_setting_is_named(
    apple: ApnsProviders, changes: dict[str, object], expected: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        build("apple", apple.table | {"type": "apns"} | changes, data_dir=Path())
    assert str(caught.value).startswith(f"providers.apple.{expected}")


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(public_exponent=65537, key_size=2048),
    ],
)
async def test_a_key_of_another_type_is_rejected(apple: ApnsProviders, key: Any, tmp_path: Path) -> None:
    (tmp_path / "other.p8").write_bytes(pem(key))
    with pytest.raises(ConfigError, match=r"apple\.key_file: is not a P-256 key"):
        apple.provider(ApnsServer(KEY, time.time, 1), key_file=str(tmp_path / "other.p8"))
