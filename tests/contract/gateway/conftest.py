"""One stand for all tests of a module, and clients of both kinds on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import httpx
import pytest

from tests.kit.gateway import Stand, running_stand


@pytest.fixture(scope="package")
async def stand() -> AsyncIterator[Stand]:
    async with running_stand() as made:
        yield made


@pytest.fixture(scope="package", params=["http1", "http2"])
async def client(stand: Stand, request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    second = request.param == "http2"
    url = f"http://{stand.address}"
    async with httpx.AsyncClient(base_url=url, http1=not second, http2=second, timeout=5) as made:
        yield made


@pytest.fixture(scope="package")
async def channel(stand: Stand) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(stand.address) as made:
        yield made
