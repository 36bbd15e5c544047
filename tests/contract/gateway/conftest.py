"""One toy gateway for all tests of a module, with HTTP and gRPC clients."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import httpx
import pytest

from tests.kit.gateway import ToyStack, running_toy_stack


@pytest.fixture(scope="package")
async def toy_stack() -> AsyncIterator[ToyStack]:
    async with running_toy_stack() as made:
        yield made


@pytest.fixture(scope="package", params=["http1", "http2"])
async def client(toy_stack: ToyStack, request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    second = request.param == "http2"
    url = f"http://{toy_stack.address}"
    async with httpx.AsyncClient(base_url=url, http1=not second, http2=second, timeout=5) as made:
        yield made


@pytest.fixture(scope="package")
async def channel(toy_stack: ToyStack) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(toy_stack.address) as made:
        yield made
