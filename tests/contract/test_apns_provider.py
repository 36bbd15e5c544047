from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from server.channels.push import Push
from server.dispatcher.providers import build
from server.dispatcher.providers.apns import HOSTS, ApnsProvider, ApnsSettings
from server.domain.delivery_errors import ProviderError, Verdict
from server.errors import ConfigError
from tests.kit.apns_server import KEY_ID, TEAM_ID, TOPIC, ApnsReply, ApnsServer, apns_server
from tests.kit.clock import FakeClock
from tests.kit.smtp_servers import CERTIFICATE
from tests.kit.until import until
from tests.kit.verdicts import raises

KEY = ec.generate_private_key(ec.SECP256R1())
DEVICE = "80b1d4ee4a7f1d9e0c62c0e9d3a5ff00" * 2
MINUTE = 60.0


def pem(key: Any) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / f"AuthKey_{KEY_ID}.p8"
    path.write_bytes(pem(KEY))
    return path


class Harness:
    """Makes providers for one server; closes them at the end."""

    def __init__(self, key_file: Path, closing: contextlib.AsyncExitStack) -> None:
        self.table = {"key_file": str(key_file), "key_id": KEY_ID, "team_id": TEAM_ID, "topic": TOPIC}
        self._closing = closing

    def provider(self, apns: ApnsServer, *, clock: Any = time.time, **settings: object) -> ApnsProvider:
        table = self.table | {"url": apns.url, "ca_file": str(CERTIFICATE)} | settings
        made = ApnsProvider("apple", msgspec.convert(table, ApnsSettings), Path(), clock=clock)
        self._closing.push_async_callback(made.aclose)
        return made


@pytest.fixture
async def harness(key_file: Path) -> AsyncIterator[Harness]:
    async with contextlib.AsyncExitStack() as closing:
        yield Harness(key_file, closing)


def push(**changes: Any) -> Push:
    fields = {"device_token": DEVICE, "title": "Grüße", "body": "Hallo Zoë 🎈", "data": {"campaign_id": "46"}}
    return Push(uuid.uuid4(), **fields | changes)


async def failure(provider: ApnsProvider, message: Push | None = None) -> ProviderError:
    message = message or push()
    with pytest.raises(ProviderError) as caught:
        await asyncio.wait_for(provider.send(message), 60)
    assert message.device_token.lower() not in str(caught.value).lower()
    assert "eyJ" not in str(caught.value)
    assert caught.value.__cause__ is None
    return caught.value


async def test_a_notification_arrives_unchanged(harness: Harness) -> None:
    message = push(data={"campaign_id": "46", "aps": "mine"})
    async with apns_server(KEY) as apns:
        message_id = await harness.provider(apns).send(message)
    (taken,) = apns.accepted
    assert taken.path == f"/3/device/{DEVICE}"
    assert taken.payload == {
        "aps": {"alert": {"title": "Grüße", "body": "Hallo Zoë 🎈"}, "sound": "default"},
        "campaign_id": "46",
    }
    assert taken.headers["apns-id"] == taken.headers["apns-collapse-id"] == str(message.trigger_id)
    assert message_id == str(message.trigger_id).upper()  # the server's own words


@pytest.mark.parametrize(("ttl", "expected"), [(0, "0"), (3600, "1700003600")])
async def test_the_ttl_sets_the_expiration(harness: Harness, ttl: int, expected: str) -> None:
    async with apns_server(KEY, clock=lambda: 1_700_000_000.0) as apns:
        await harness.provider(apns, clock=lambda: 1_700_000_000.9, ttl=ttl).send(push())
    assert apns.accepted[0].headers["apns-expiration"] == expected


async def test_sends_share_a_connection_and_a_token(harness: Harness) -> None:
    async with apns_server(KEY) as apns:
        provider = harness.provider(apns, concurrency=50)
        apns.script += [ApnsReply(after=0.05)] * 50
        await asyncio.gather(*(provider.send(push()) for _ in range(50)))
    assert (apns.connections, len(apns.tokens)) == (1, 1)
    assert apns.busiest > 30


async def test_streams_stay_within_the_servers_limit(harness: Harness) -> None:
    async with apns_server(KEY, streams=3) as apns:
        apns.script += [ApnsReply(after=0.01)] * 20
        provider = harness.provider(apns)
        await asyncio.gather(*(provider.send(push()) for _ in range(20)))
    assert (apns.connections, apns.busiest, len(apns.received)) == (1, 3, 20)


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
async def test_verdict_of_each_answer(harness: Harness, status: int, reason: str, expected: Verdict) -> None:
    async with apns_server(KEY) as apns:
        provider = harness.provider(apns)
        apns.script.append(ApnsReply(status, reason))
        error = await failure(provider)
        assert error.verdict is expected
        assert str(error) == f"APNs HTTP {status}: {reason}"
        await provider.send(push())
    assert (apns.connections, len(apns.received)) == (1, 2)


async def test_a_throttled_device_has_a_retry_time(harness: Harness) -> None:
    async with apns_server(KEY) as apns:
        apns.script.append(ApnsReply(429, "TooManyRequests", headers=(("retry-after", "17"),)))
        error = await failure(harness.provider(apns))
    assert (error.retry_after, error.verdict) == (17.0, Verdict.LATER)


async def test_an_unregistered_token_has_a_timestamp(harness: Harness) -> None:
    async with apns_server(KEY) as apns:
        apns.script.append(ApnsReply(410, "Unregistered", timestamp=1_700_000_000_000))
        error = await failure(harness.provider(apns))
    assert str(error) == "APNs HTTP 410: Unregistered since 2023-11-14T22:13:20Z"


async def test_a_provider_token_is_used_for_50_minutes(harness: Harness) -> None:
    clock = FakeClock(time.time())
    async with apns_server(KEY, clock=clock) as apns:
        provider = harness.provider(apns, clock=clock)
        for _ in range(5):
            await provider.send(push())
            clock.advance(12 * MINUTE)
        assert len(apns.tokens) == 1
        await provider.send(push())
    assert (len(apns.tokens), len(apns.accepted)) == (2, 6)


async def test_an_expired_provider_token_is_renewed(harness: Harness) -> None:
    ours, theirs = FakeClock(time.time()), FakeClock(time.time())
    async with apns_server(KEY, clock=theirs) as apns:
        provider = harness.provider(apns, clock=ours)
        await provider.send(push())
        ours.now += 25 * MINUTE
        apns.script += [ApnsReply(403, "ExpiredProviderToken", after=0.02)] * 10
        theirs.now += 25 * MINUTE
        await asyncio.gather(*(provider.send(push()) for _ in range(10)))
    assert (len(apns.tokens), len(apns.accepted), len(apns.received)) == (2, 11, 21)


async def test_a_provider_token_lasts_at_least_20_minutes(harness: Harness) -> None:
    clock = FakeClock(time.time())
    async with apns_server(KEY, clock=lambda: clock.now + 2 * 60 * MINUTE) as apns:  # never in agreement
        provider = harness.provider(apns, clock=clock)
        for _ in range(8):
            assert "ExpiredProviderToken" in str(await failure(provider))
            clock.advance(3 * MINUTE)
    assert (len(apns.tokens), len(apns.received)) == (2, 9)  # the message of the 21st minute was sent twice


async def test_a_clock_set_back_renews_the_token(harness: Harness) -> None:
    clock = FakeClock(time.time())
    async with apns_server(KEY, clock=clock) as apns:
        provider = harness.provider(apns, clock=clock)
        clock.advance(-60 * MINUTE)
        await provider.send(push())
    assert len(apns.accepted) == 1


async def test_a_too_large_message_is_not_sent(harness: Harness) -> None:
    fits = 4096 - len('{"aps":{"alert":{"title":"","body":""},"sound":"default"}}')
    async with apns_server(KEY) as apns:
        provider = harness.provider(apns)
        await provider.send(push(title="", body="x" * fits, data={}))
        error = await failure(provider, push(title="", body="x" * (fits - 1) + "ü", data={}))
    assert len(apns.accepted[0].body) == 4096
    assert error.verdict is Verdict.NEVER
    assert str(error) == "the message has 4097 bytes; APNs accepts 4096"
    assert len(apns.received) == 1


@pytest.mark.parametrize(
    "token", ["", "DEVICE_TOKEN", "abc123", "ab" * 101, f"{DEVICE}/../x", f"{DEVICE}\n", "\u0660" * 64]
)
async def test_an_invalid_device_token_is_not_sent(harness: Harness, token: str) -> None:
    async with apns_server(KEY) as apns:
        with raises(Verdict.NEVER, match="is not in the format of APNs tokens"):
            await harness.provider(apns).send(push(device_token=token))
    assert apns.connections == 0


async def test_a_goaway_causes_a_new_connection(harness: Harness) -> None:
    async with apns_server(KEY) as apns:
        provider = harness.provider(apns)
        apns.script += [ApnsReply(), ApnsReply(reason="Shutdown", then="goaway")]
        await provider.send(push())
        error = await failure(provider)
        await provider.send(push())
    assert error.verdict is Verdict.LATER  # the next connection is not affected
    assert str(error) == "apple closed the connection: Shutdown"
    assert [one.connection for one in apns.received] == [1, 1, 2]


async def test_a_closed_idle_connection_is_replaced(harness: Harness) -> None:
    async with apns_server(KEY) as apns:
        provider = harness.provider(apns)
        apns.script.append(ApnsReply(then="leave"))
        await provider.send(push())
        await until(lambda: apns.open_now == 0, "the server has closed the connection")
        await provider.send(push())
        await provider.send(push())
    assert [one.connection for one in apns.received] == [1, 2, 2]


async def test_a_goaway_fails_only_the_messages_in_flight(harness: Harness) -> None:
    async with apns_server(KEY) as apns:
        provider = harness.provider(apns)
        await provider.send(push())
        apns.script += [*[ApnsReply(after=60)] * 9, ApnsReply(then="goaway", after=0.05)]
        ends = await asyncio.gather(*(provider.send(push()) for _ in range(10)), return_exceptions=True)
        await asyncio.gather(*(provider.send(push()) for _ in range(10)))
    assert {getattr(end, "verdict", end) for end in ends} == {Verdict.LATER}
    assert (apns.connections, len(apns.accepted)) == (2, 11)


async def test_a_truncated_answer_counts_by_its_status(harness: Harness) -> None:
    async with apns_server(KEY) as apns:
        provider, message = harness.provider(apns), push()
        apns.script += [ApnsReply(200, body=b"{}", then="cut"), ApnsReply(400, "BadDeviceToken", then="cut")]
        apns.script.append(ApnsReply(410, "Unregistered", then="cut"))
        assert await provider.send(message) == str(message.trigger_id)
        for status in (400, 410):
            error = await failure(provider)
            assert error.verdict is Verdict.PROVIDER_DOWN
            assert str(error) == f"APNs HTTP {status}: no readable reason"


@pytest.mark.parametrize("fault", ["reset", "garbage"])
async def test_a_broken_stream_or_connection_is_in_doubt(harness: Harness, fault: str) -> None:
    async with apns_server(KEY) as apns:
        provider = harness.provider(apns)
        apns.script += [ApnsReply(), ApnsReply(200, body=b"{}", then=fault)]
        await provider.send(push())
        error = await failure(provider)
        await provider.send(push())
    assert error.verdict is Verdict.IN_DOUBT
    assert str(error).startswith("apple gave no answer: ")
    assert apns.connections == (1 if fault == "reset" else 2)


async def test_a_restarted_server_is_used_again(harness: Harness) -> None:
    async with apns_server(KEY) as apns:
        provider = harness.provider(apns, concurrency=1)
        apns.script += [ApnsReply(500, "InternalServerError", then="cut")] * 3
        for _ in range(3):
            assert (await failure(provider)).verdict is Verdict.PROVIDER_DOWN
        await provider.send(push())
    assert len(apns.accepted) == 1


async def in_flight(provider: ApnsProvider, apns: ApnsServer) -> asyncio.Task[str]:
    """Start to send a notification; return once the server has it."""
    before = apns.requests
    sending = asyncio.create_task(provider.send(push()))
    await until(lambda: apns.requests > before, "the server has the notification")
    return sending


async def cancel(sending: asyncio.Task[str]) -> None:
    """Cancel a send, as at the end of its time limit; it must be in doubt."""
    sending.cancel()
    with raises(Verdict.IN_DOUBT):
        await sending


async def test_cancelling_a_slow_send_blocks_no_other(harness: Harness) -> None:
    async with apns_server(KEY) as apns:
        provider = harness.provider(apns, timeout=0.2)
        assert provider.timeout == 0.2
        apns.script.append(ApnsReply(then="silence"))
        slow = await in_flight(provider, apns)
        await asyncio.gather(*(provider.send(push()) for _ in range(5)))
        await cancel(slow)
    assert (apns.connections, len(apns.accepted)) == (1, 5)


async def test_a_silent_connection_is_replaced(harness: Harness) -> None:
    async with apns_server(KEY) as apns:
        provider = harness.provider(apns)
        apns.script += [ApnsReply(), ApnsReply(then="silent connection")]
        await provider.send(push())
        stuck = [await in_flight(provider, apns) for _ in range(5)]
        for one in stuck:
            await cancel(one)
        await provider.send(push())
        assert (apns.connections, len(apns.accepted)) == (2, 1)
        await until(lambda: apns.open_now == 1, "the silent connection is closed")


async def test_messages_on_a_replaced_connection_finish(harness: Harness) -> None:
    async with apns_server(KEY) as apns:
        provider, held = harness.provider(apns), asyncio.Event()
        apns.script += [ApnsReply(then="silence"), *[ApnsReply(held=held)] * 3]
        left = await in_flight(provider, apns)
        under_way = [await in_flight(provider, apns) for _ in range(3)]
        await cancel(left)
        await provider.send(push())
        assert (apns.connections, apns.open_now) == (2, 2)
        held.set()
        await asyncio.gather(*under_way)
        await until(lambda: apns.open_now == 1, "the replaced connection is closed")
        assert apns.connections == 2


def test_the_repr_leaves_out_the_file(key_file: Path) -> None:
    settings = ApnsSettings(key_file=pem(KEY).decode(), key_id=KEY_ID, team_id=TEAM_ID, topic=TOPIC)
    assert "PRIVATE" not in f"{settings!r} {settings} {settings.__rich_repr__()}"


@pytest.mark.parametrize(("environment", "host"), HOSTS.items())
async def test_the_environment_selects_the_host(harness: Harness, environment: str, host: str) -> None:
    provider = build("apple", harness.table | {"type": "apns", "environment": environment}, data_dir=Path())
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
    harness: Harness, changes: dict[str, object], expected: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        build("apple", harness.table | {"type": "apns"} | changes, data_dir=Path())
    assert str(caught.value).startswith(f"providers.apple.{expected}")


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(public_exponent=65537, key_size=2048),
    ],
)
async def test_a_key_of_another_type_is_rejected(harness: Harness, key: Any, tmp_path: Path) -> None:
    (tmp_path / "other.p8").write_bytes(pem(key))
    with pytest.raises(ConfigError, match=r"apple\.key_file: is not a P-256 key"):
        harness.provider(ApnsServer(KEY, time.time, 1), key_file=str(tmp_path / "other.p8"))
