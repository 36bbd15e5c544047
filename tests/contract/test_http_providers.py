"""Behaviour that all providers with an HTTP API share."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from server.dispatcher.providers import build
from server.dispatcher.providers.base import Provider
from server.domain.delivery_errors import ProviderError, Verdict
from server.errors import ConfigError
from tests.kit.http_providers import HTTP_PROVIDERS, HttpProvider, Server
from tests.kit.smtp_servers import CERTIFICATE, server_tls
from tests.kit.until import until

pytestmark = [
    pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning"),
]
NAME = "mine"
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
BODIES = (
    b"",
    b"\xff\xfe\x00",
    b"<html>Bad Gateway</html>",
    b"[" * 50_000,
    b"x" * 100_000,
    b"null",
    b"[]",
    b"{}",
)


@pytest.fixture(params=HTTP_PROVIDERS, ids=lambda one: one.kind)
def kind(request: pytest.FixtureRequest) -> HttpProvider:
    found: HttpProvider = request.param
    return found


@contextlib.asynccontextmanager
async def provider_for(
    kind: HttpProvider, address: str, folder: Path, /, **settings: Any
) -> AsyncIterator[Provider]:
    trusted = {"ca_file": str(CERTIFICATE)}
    table = {"type": kind.kind, "url": address, **trusted, **kind.settings(folder), **settings}
    provider = build(
        NAME, {name: value for name, value in table.items() if value is not None}, data_dir=folder
    )
    try:
        yield provider
    finally:
        await provider.aclose()


@contextlib.asynccontextmanager
async def connected(
    kind: HttpProvider, folder: Path, **settings: Any
) -> AsyncIterator[tuple[Provider, Server]]:
    async with (
        kind.run(folder, None) as server,
        provider_for(kind, server.url, folder, **settings) as provider,
    ):
        yield provider, server


async def test_trace_context_is_in_the_request(kind: HttpProvider, tmp_path: Path) -> None:
    async with connected(kind, tmp_path) as (provider, server):
        await provider.send(kind.message("untraced"))
        await provider.send(replace(kind.message("traced"), traceparent=TRACEPARENT))
    assert server.traceparents == ["", TRACEPARENT]


async def failure(kind: HttpProvider, provider: Provider) -> ProviderError:
    """Send a message that is not accepted, and return the error, which contains nothing secret."""
    with pytest.raises(ProviderError) as caught:
        await asyncio.wait_for(provider.send(kind.message("Hello")), 60)
    said = f"{caught.value} {caught.value.__cause__!r}"
    assert kind.secret not in said
    assert kind.recipient not in said
    return caught.value


async def test_a_message_is_sent(kind: HttpProvider, tmp_path: Path) -> None:
    async with connected(kind, tmp_path) as (provider, server):
        assert await provider.send(kind.message("Grüße 🎈"))
    assert server.bodies == ["Grüße 🎈"]


async def test_a_lone_surrogate_becomes_a_question_mark(kind: HttpProvider, tmp_path: Path) -> None:
    async with connected(kind, tmp_path) as (provider, server):
        await provider.send(kind.message("a\ud800b"))
    assert server.bodies == ["a?b"]


async def test_one_connection_carries_many_messages(kind: HttpProvider, tmp_path: Path) -> None:
    async with connected(kind, tmp_path) as (provider, server):
        for _ in range(10):
            await provider.send(kind.message("Hello"))
    assert (server.connections, len(server.bodies)) == (1, 10)


async def test_no_more_connections_than_allowed(kind: HttpProvider, tmp_path: Path) -> None:
    async with connected(kind, tmp_path, concurrency=4) as (provider, server):
        assert provider.concurrency == 4
        await asyncio.gather(*(provider.send(kind.message("Hello")) for _ in range(20)))
    assert len(server.bodies) == 20
    assert server.connections <= 4
    assert server.connections > 1 or kind.kind == "apns"  # HTTP/2 needs only one


async def test_a_message_of_another_channel_is_refused(kind: HttpProvider, tmp_path: Path) -> None:
    async with connected(kind, tmp_path) as (provider, server):
        with pytest.raises(ProviderError, match=f"^{kind.label} sends only [a-z ]+$") as caught:
            await provider.send(kind.other_message)
    assert (caught.value.verdict, caught.value.reached_provider) == (Verdict.NEVER, False)
    assert server.connections == 0


@pytest.mark.parametrize("status", [302, 400, 401, 404, 500, 502, 503, 504])
async def test_an_unreadable_answer_is_retried(kind: HttpProvider, tmp_path: Path, status: int) -> None:
    """An answer that is not in the API's form came from something else, such as a proxy."""
    async with connected(kind, tmp_path) as (provider, server):
        for body in (*BODIES, *kind.odd_bodies):
            attempts = 2 if (kind.kind, status) == ("fcm", 401) else 1  # a refused token is renewed once
            for _ in range(attempts):
                server.answer(status, body)
            error = await failure(kind, provider)
            assert error.verdict is (Verdict.IN_DOUBT if status in {502, 504} else Verdict.PROVIDER_DOWN)
            assert str(error) == f"{kind.label} HTTP {status}: {kind.unreadable}"
        await provider.send(kind.message("Hello"))


async def test_a_success_without_its_body_is_in_doubt(kind: HttpProvider, tmp_path: Path) -> None:
    """Where the API answers with the message's ID, an answer without one may be from something else."""
    async with connected(kind, tmp_path) as (provider, server):
        for status in kind.needs_body:
            for body in (b"",) if status == 204 else (*BODIES, *kind.odd_bodies):
                server.answer(status, body)
                error = await failure(kind, provider)
                assert error.verdict is Verdict.IN_DOUBT
                assert str(error) == f"{kind.label} HTTP {status}: {kind.unreadable}"


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_in_seconds(kind: HttpProvider, tmp_path: Path, status: int) -> None:
    async with connected(kind, tmp_path) as (provider, server):
        server.answer(status, headers={"Retry-After": "17"})
        error = await failure(kind, provider)
    assert error.retry_after == 17
    assert error.verdict in {Verdict.PROVIDER_DOWN, Verdict.LATER}


async def test_retry_after_as_a_date(kind: HttpProvider, tmp_path: Path) -> None:
    moment = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    async with connected(kind, tmp_path) as (provider, server):
        server.answer(503, headers={"Retry-After": format_datetime(moment, usegmt=True)})
        error = await failure(kind, provider)
    assert error.retry_after == pytest.approx(3600, abs=60)


@pytest.mark.parametrize("value", ["", "soon", "-5", "1e9", "99:99"])
async def test_an_unreadable_retry_after_is_ignored(kind: HttpProvider, tmp_path: Path, value: str) -> None:
    async with connected(kind, tmp_path) as (provider, server):
        server.answer(503, headers={"Retry-After": value})
        assert (await failure(kind, provider)).retry_after is None


async def test_refused_credentials_are_retried(kind: HttpProvider, tmp_path: Path) -> None:
    """They can be corrected, so messages are retried."""
    wrong = {
        name: str(tmp_path / str(value)) if name.endswith("_file") else value
        for name, value in kind.wrong_credentials.items()
    }
    async with connected(kind, tmp_path, **wrong) as (provider, _):
        error = await failure(kind, provider)
    assert error.verdict is Verdict.PROVIDER_DOWN
    assert re.search(r"40[013]", str(error))


async def test_a_connection_broken_in_the_answer_is_in_doubt(kind: HttpProvider, tmp_path: Path) -> None:
    async with connected(kind, tmp_path) as (provider, server):
        await provider.send(kind.message("Hello"))
        for how in range(server.ways_to_break):
            server.break_connection(how)
            error = await failure(kind, provider)
            assert error.verdict is Verdict.IN_DOUBT
            assert re.fullmatch(rf"{NAME} gave no answer: \w+", str(error))
            await provider.send(kind.message("Hello"))
    assert len(server.bodies) == 1 + 2 * server.ways_to_break


async def test_a_refused_connection_is_retried(kind: HttpProvider, tmp_path: Path) -> None:
    async with connected(kind, tmp_path) as (_, server):
        pass
    async with provider_for(kind, server.url, tmp_path) as provider:
        error = await failure(kind, provider)
    assert error.verdict is Verdict.PROVIDER_DOWN
    assert "gave no answer: ConnectError" in str(error)


async def test_accepted_then_broken_counts_as_sent(kind: HttpProvider, tmp_path: Path) -> None:
    """The status said that the message was accepted; another attempt would send it twice."""
    async with connected(kind, tmp_path) as (provider, server):
        server.accept_and_break()
        await provider.send(kind.message("Hello"))
    assert len(server.bodies) == 1


async def test_a_cancelled_send_blocks_no_other(kind: HttpProvider, tmp_path: Path) -> None:
    async with connected(kind, tmp_path, timeout=7.5, concurrency=1) as (provider, server):
        assert provider.timeout == 7.5  # after which the dispatcher cancels a send
        server.answer(500, after=60)
        sending = asyncio.create_task(provider.send(kind.message("Hello")))
        await until(lambda: server.bodies, "the server has the message")
        sending.cancel()
        with pytest.raises(ProviderError, match="request was sent, but no answer arrived in time") as caught:
            await sending
        assert caught.value.verdict is Verdict.IN_DOUBT
        await asyncio.wait_for(provider.send(kind.message("Hello")), 60)


async def test_only_a_trusted_server_gets_a_message(kind: HttpProvider, tmp_path: Path) -> None:
    async with kind.run(tmp_path, server_tls()) as server:
        async with provider_for(kind, server.url, tmp_path) as provider:
            await provider.send(kind.message("Hello"))
        async with provider_for(kind, server.url, tmp_path, ca_file=None) as provider:
            error = await failure(kind, provider)
    assert error.verdict is Verdict.PROVIDER_DOWN
    assert "ConnectError" in str(error)
    assert len(server.bodies) == 1


async def test_no_secret_is_in_a_repr(kind: HttpProvider, tmp_path: Path) -> None:
    async with connected(kind, tmp_path) as (provider, _):
        policy: Any = provider.policy
        said = f"{policy!r} {policy} {policy.__rich_repr__()}"
    assert kind.secret not in said
    files = [str(value) for name, value in kind.settings(tmp_path).items() if name.endswith("_file")]
    assert not [path for path in files if path in said]
    assert "url" in said


async def test_a_rate_is_the_policy_of_a_provider(kind: HttpProvider, tmp_path: Path) -> None:
    async with connected(kind, tmp_path, rate="50") as (provider, _):
        assert (provider.name, provider.policy.rate) == (NAME, 50)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"url": "http://example.com"}, "url: must be https"),
        ({"url": "ftp://x"}, "url: must be an address"),
        ({"url": "https://user:password@x"}, "url: must be an address"),
        ({"ca_file": "/nowhere"}, "ca_file: cannot be used: No such file"),
        ({"timeout": 0}, "timeout: expected `float` > 0"),
        ({"concurrency": 0}, "concurrency: expected `int` >= 1"),
        ({"concurency": 5}, "concurency: is not a setting of this provider"),
    ],
)
async def test_an_invalid_setting_is_named(
    kind: HttpProvider, tmp_path: Path, settings: dict[str, object], problem: str
) -> None:
    async with connected(kind, tmp_path):
        with pytest.raises(ConfigError) as caught:
            async with provider_for(kind, "http://127.0.0.1:1", tmp_path, **settings):
                pass
    assert str(caught.value).startswith(f"providers.{NAME}.{problem}")
    assert kind.secret not in str(caught.value)
