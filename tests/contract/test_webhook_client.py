"""Posting to an endpoint: real receivers, and the many ways in which one could lead us astray."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import json
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from server.dispatcher import resolver as resolving
from server.dispatcher.resolver import Resolver
from server.dispatcher.webhooks import client as posting_module
from server.dispatcher.webhooks.address_policy import Address, AddressPolicy
from server.dispatcher.webhooks.client import MAX_BODY, Poster
from server.dispatcher.webhooks.url_check import problems_of
from server.domain.delivery_errors import ProviderError, Verdict
from server.errors import ConfigError
from tests.kit.cases import each_case
from tests.kit.http_api import Reply, http_api
from tests.kit.until import until

LOOPBACK = "127.0.0.0/8"
BODY = b'{"type": "webhook.test"}'
HEADERS = {"webhook-id": "m-1"}


@asynccontextmanager
async def posting(*allowed: str, within: float = 5.0, ca_file: str = "") -> AsyncIterator[Poster]:
    poster = Poster(AddressPolicy(allowed), timeout=within, ca_file=ca_file)
    try:
        yield poster
    finally:
        await poster.aclose()


async def failure(poster: Poster, url: str, verdict: Verdict = Verdict.PROVIDER_DOWN) -> str:
    """Post, expecting a failure with this verdict; return the error's text."""
    with pytest.raises(ProviderError) as caught:
        await poster.post(url, HEADERS, BODY)
    assert caught.value.verdict is verdict
    return str(caught.value)


def resolve_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Have names answered with these addresses, look-up for look-up; return the names as they are asked."""
    asked: list[str] = []

    def resolved(host: str) -> list[Address]:
        asked.append(host)
        return [ipaddress.ip_address(text) for text in answers[min(len(asked), len(answers)) - 1]]

    monkeypatch.setattr(resolving, "_resolved", resolved)
    return asked


async def test_a_message_arrives_unchanged() -> None:
    async with http_api() as api, posting(LOOPBACK) as poster:
        reply = await poster.post(f"{api.url}/hook?token=t", HEADERS, BODY)
    assert reply.status == 200
    [request] = api.requests
    assert (request.method, request.target, request.body) == ("POST", "/hook?token=t", BODY)
    assert request.json() == json.loads(BODY)
    assert request.headers["webhook-id"] == "m-1"
    assert request.headers["host"] == api.url.removeprefix("http://")


async def test_redirects_to_loopback_are_not_followed() -> None:
    async with http_api() as forbidden, http_api() as receiver, posting("127.0.0.1/32") as poster:
        for status in (301, 302, 303, 307, 308):
            receiver.script.append(Reply(status, headers={"Location": f"{forbidden.url}/admin"}))
            assert (await poster.post(receiver.url, HEADERS, BODY)).status == status
        assert len(receiver.requests) == 5
    assert forbidden.connections == 0


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::1]", "[::ffff:127.0.0.1]"]
)
async def test_loopback_is_refused_in_every_notation(host: str) -> None:
    async with http_api() as api, posting() as poster:
        port = api.url.rpartition(":")[2]
        for scheme in ("http", "https"):
            words = await failure(poster, f"{scheme}://{host}:{port}/")
            assert "is not a public address" in words
    assert api.connections == 0


async def test_a_name_is_resolved_once_per_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = resolve_to(monkeypatch, ["127.0.0.2"], ["127.0.0.1"])
    async with http_api() as api, posting("127.0.0.2/32") as poster:
        port = api.url.rpartition(":")[2]
        words = await failure(poster, f"http://rebinding.example:{port}/")  # nothing listens on 127.0.0.2
        assert asked == ["rebinding.example"]
        assert words.startswith("no answer: ConnectError")
        assert "127.0.0.1 is not a public address" in await failure(
            poster, f"http://rebinding.example:{port}/"
        )
    assert api.connections == 0


async def test_a_name_with_one_forbidden_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, ["127.0.0.1", "10.0.0.1"])
    async with http_api() as api, posting(LOOPBACK) as poster:
        port = api.url.rpartition(":")[2]
        assert "10.0.0.1 is not a public" in await failure(poster, f"http://mixed.example:{port}/")
    assert api.connections == 0


async def test_the_next_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, ["127.0.0.3", "127.0.0.1"])
    async with http_api() as api, posting(LOOPBACK) as poster:
        port = api.url.rpartition(":")[2]
        assert (await poster.post(f"http://two.example:{port}/", HEADERS, BODY)).status == 200
    assert api.requests[0].headers["host"] == f"two.example:{port}"


async def test_tls_is_verified_for_the_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority, file = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("hooks.example").configure_cert(context)
    resolve_to(monkeypatch, ["127.0.0.1"])
    async with http_api(tls=context) as api, posting(LOOPBACK, ca_file=str(file)) as poster:
        port = api.url.rpartition(":")[2]
        assert (await poster.post(f"https://hooks.example:{port}/", HEADERS, BODY)).status == 200
        assert "certificate verify failed" in await failure(poster, f"https://other.example:{port}/")
        async with posting(LOOPBACK) as stranger:
            assert "certificate verify failed" in await failure(stranger, f"https://hooks.example:{port}/")
    assert [request.body for request in api.requests] == [BODY]


async def test_proxy_variables_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    async with http_api() as proxy, http_api() as api, posting(LOOPBACK) as poster:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert (await poster.post(api.url, HEADERS, BODY)).status == 200
    assert proxy.connections == 0


async def test_only_the_start_of_a_body_is_read_and_not_unpacked() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    async with http_api() as api, posting(LOOPBACK) as poster:
        api.script.append(Reply(500, b"x" * 30_000_000))
        api.script.append(Reply(200, bomb, headers={"Content-Encoding": "gzip"}))
        api.script.append(Reply(503, b"again", headers={"Retry-After": "7"}))
        api.script.append(Reply(503, headers={"Retry-After": "Thu, 01 Jan 2026 00:00:00 +99999999999999"}))
        huge, packed, short, odd = [await poster.post(api.url, HEADERS, BODY) for _ in range(4)]
    assert (huge.status, huge.body) == (500, b"x" * MAX_BODY)
    assert (packed.status, packed.body) == (200, bomb[:MAX_BODY])
    assert (short.status, short.body, short.retry_after) == (503, b"again", 7.0)
    assert (odd.status, odd.retry_after) == (503, None)


@pytest.mark.parametrize("close", [True, False], ids=["breaks off", "never ends"])
async def test_an_incomplete_body_keeps_the_status(monkeypatch: pytest.MonkeyPatch, *, close: bool) -> None:
    monkeypatch.setattr(posting_module, "BODY_TIMEOUT", 0.1)
    async with http_api() as api, posting(LOOPBACK) as poster:
        api.script.append(Reply(200, b"half", headers={"Content-Length": "100"}, close=close))
        reply = await poster.post(api.url, HEADERS, BODY)
        assert (reply.status, reply.body) == (200, b"half")
        assert (await poster.post(api.url, HEADERS, BODY)).status == 200
    assert api.connections == 2


GARBLED = "no answer: RemoteProtocolError"


@pytest.mark.parametrize(
    ("reply", "within", "words"),
    [
        (Reply(after=30), 1.5, "no answer within 1.5 s"),
        (Reply(cut=0), 60, GARBLED),
        (Reply(raw=b"SSH-2.0-OpenSSH_9.9\r\n"), 60, GARBLED),
        (Reply(200, headers={f"X-{n}": "y" * 1000 for n in range(200)}), 60, GARBLED),
    ],
    ids=["hangs", "hangs up", "speaks no HTTP", "endless headers"],
)
async def test_a_missing_or_invalid_reply_is_reported(reply: Reply, within: float, words: str) -> None:
    async with http_api() as api, posting(LOOPBACK, within=within) as poster:
        api.script.append(reply)
        error = await failure(poster, f"{api.url}/?token=secret", Verdict.IN_DOUBT)
    assert error.startswith(words)


async def test_a_hanging_lookup_does_not_delay_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answered = [], threading.Event()

    def resolved(host: str) -> list[Address]:
        asked.append(host)
        if host.startswith("hangs"):
            answered.wait(30)
        return [ipaddress.ip_address("127.0.0.1")]

    monkeypatch.setattr(resolving, "_resolved", resolved)
    monkeypatch.setattr(posting_module, "CONNECT_TIMEOUT", 30.0)
    async with http_api() as api, posting(LOOPBACK, within=30) as poster:
        port = api.url.rpartition(":")[2]
        hanging = [
            asyncio.create_task(poster.post(f"http://hangs-{n % 40}.example:{port}/", HEADERS, BODY))
            for n in range(80)
        ]
        await until(lambda: len(asked) == 40, "every name is looked up")
        assert (await poster.post(f"http://works.example:{port}/", HEADERS, BODY)).status == 200
        assert not any(task.done() for task in hanging)
        hanging.pop().cancel()  # another one waits for the same name
        answered.set()
        assert {reply.status for reply in await asyncio.gather(*hanging)} == {200}
    assert len(asked) == 41


async def test_a_lookup_that_times_out_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(resolving, "_resolved", lambda _: answered.wait(30))
    async with posting(LOOPBACK, within=0.1) as poster:
        assert await failure(poster, "http://hangs.example/") == "no answer within 0.1 s"
    answered.set()


async def test_a_failed_lookup_is_reported_and_not_cached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("can't start new thread")

    resolver = Resolver()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", broken)
        with pytest.raises(OSError, match="can't start new thread"):
            await resolver.addresses("localhost")
    with monkeypatch.context() as patch:
        patch.setattr(resolving, "_resolved", broken)
        with pytest.raises(RuntimeError):
            await resolver.addresses("localhost")
    async with asyncio.timeout(60):
        assert all(address.is_loopback for address in await resolver.addresses("localhost"))


@each_case(
    ("url", "problems"),
    [
        ("https://8.8.8.8/hook?x=1", []),
        ("https://8.8.8.8:8443/", []),
        (
            "http://127.0.0.1:1/",
            ["127.0.0.1 is not a public address; to allow it, add its network to [webhooks] allow"],
        ),
        (
            "http://8.8.8.8/",
            ["http:// is only allowed for the networks in [webhooks] allow"],
        ),
        ("https://no-such-name.invalid/", ["the name no-such-name.invalid cannot be resolved"]),
        ("https://" + "a" * 64 + ".example/", ["cannot be resolved"]),
        ("ftp://8.8.8.8/", ["must start with https://"]),
        ("8.8.8.8", ["must start with https://", "must have a host"]),
        ("https://", ["must have a host"]),
        ("https://user:pw@8.8.8.8/#x", ["must not contain a user name", "must not have a fragment"]),
        ("https://8.8.8.8:0/", ["port must be between 1 and 65535"]),
        ("https://8.8.8.8:99999/", ["port must be between 1 and 65535"]),
        ("https://8.8.8.8:x/", ["is not a URL"]),
        ("https://exa mple/", ["the name exa%20mple cannot be resolved"]),
        ("https://8.8.8.8/" + "x" * 2048, ["must be at most 2048 characters"]),
        ("https://8.8.8.8/\r\nX-Evil: 1", ["is not a URL"]),
    ],
)
async def test_every_problem_of_a_url_is_reported(url: str, problems: list[str]) -> None:
    found = await problems_of(url, AddressPolicy([]), Resolver())
    assert len(found) == len(problems)
    for said, expected in zip(found, problems, strict=True):
        assert expected in said
    assert "pw" not in str(found)


async def test_an_invalid_ca_file_is_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for name in ("ca.pem", "none.pem"):
        with pytest.raises(ConfigError, match=r"webhooks\.ca_file: cannot be used"):
            Poster(AddressPolicy([]), timeout=1, ca_file=str(tmp_path / name))
