"""A name that cannot be resolved holds up only the providers that use it."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from server.dispatcher import resolver
from server.dispatcher.providers import build
from server.dispatcher.providers.base import Provider
from server.dispatcher.resolver import Address
from server.domain.delivery_errors import ProviderError, Verdict
from tests.kit import sendgrid_api
from tests.kit.http_api import http_api
from tests.kit.smtp_provider import make_email
from tests.kit.smtp_servers import CERTIFICATE, mail_server, server_tls
from tests.kit.until import until

HANGING = 40  # more than any pool of threads for lookups has


@contextlib.asynccontextmanager
async def built(**table: object) -> AsyncIterator[Provider]:
    provider = build("mail", table, data_dir=Path())
    try:
        yield provider
    finally:
        await provider.aclose()


def smtp(host: str, port: int) -> dict[str, object]:
    return {"type": "smtp", "host": host, "port": port, "security": "none"}


def sendgrid(url: str) -> dict[str, object]:
    return {"type": "sendgrid", "api_key": sendgrid_api.KEY, "url": url, "ca_file": str(CERTIFICATE)}


@pytest.fixture
def resolving(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Resolve each name to 127.0.0.1, those that start with `hangs` only at the end; list them."""
    asked: list[str] = []
    end = threading.Event()

    def resolved(host: str) -> list[Address]:
        asked.append(host)
        if host.startswith("hangs"):
            end.wait(60)
        return [ipaddress.ip_address("127.0.0.1")]

    monkeypatch.setattr(resolver, "_resolved", resolved)
    yield asked
    end.set()


@pytest.mark.parametrize(
    "hanging",
    [lambda n: smtp(f"hangs-{n}.example", 25), lambda n: sendgrid(f"https://hangs-{n}.example")],
    ids=["smtp", "http"],
)
async def test_a_hanging_name_stops_no_other_provider(
    resolving: list[str], hanging: Callable[[int], dict[str, object]]
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        providers = [await stack.enter_async_context(built(**hanging(n))) for n in range(HANGING)]
        sends = [asyncio.create_task(one.send(make_email())) for one in providers for _ in range(2)]
        await until(lambda: len(resolving) == HANGING, "every name is looked up")
        server = await stack.enter_async_context(mail_server())
        api = await stack.enter_async_context(http_api(sendgrid_api.sendgrid, tls=server_tls()))
        mail = await stack.enter_async_context(built(**smtp("works.example", server.port)))
        port = api.url.rpartition(":")[2]
        web = await stack.enter_async_context(built(**sendgrid(f"https://localhost:{port}")))
        await asyncio.wait_for(mail.send(make_email()), 60)
        await asyncio.wait_for(web.send(make_email()), 60)
        assert not any(send.done() for send in sends)
        assert len(resolving) == HANGING + 2  # one lookup for each name
        for send in sends:
            send.cancel()
        await asyncio.gather(*sends, return_exceptions=True)


async def test_an_unknown_name_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: str) -> list[Address]:
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr(resolver, "_resolved", unknown)
    async with built(**smtp("nowhere.example", 25)) as provider:
        with pytest.raises(ProviderError) as caught:
            await provider.send(make_email())
    assert caught.value.verdict is Verdict.PROVIDER_DOWN
    assert str(caught.value) == "cannot resolve nowhere.example: Name or service not known (connecting)"
