"""Two toy gateways for all tests of the folder, one of them impatient, with HTTP and gRPC clients."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import httpx
import pytest

from tests.kit.gateway import IMPATIENT, ToyStack, running_toy_stack
from tests.kit.http_client import http_client


@pytest.fixture(scope="package")
async def toy_stack() -> AsyncIterator[ToyStack]:
    async with running_toy_stack() as made:
        yield made


@pytest.fixture(scope="package")
async def impatient() -> AsyncIterator[ToyStack]:
    """A gateway with short time limits, for calls that must exceed one."""
    async with running_toy_stack(**IMPATIENT) as made:
        yield made


@pytest.fixture(scope="package", params=["http1", "http2"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="package")
async def client(toy_stack: ToyStack, version: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(toy_stack, version) as made:
        yield made


@pytest.fixture(scope="package")
async def impatient_client(impatient: ToyStack, version: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(impatient, version) as made:
        yield made


def client_of(toy_stack: ToyStack, version: str) -> httpx.AsyncClient:
    """Return a client of a gateway by a version of HTTP."""
    second = version == "http2"
    return http_client(f"http://{toy_stack.address}", http1=not second, http2=second)


@pytest.fixture(scope="package")
async def impatient_channel(impatient: ToyStack) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(impatient.address) as made:
        yield made


@pytest.fixture(scope="package")
async def channel(toy_stack: ToyStack) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(toy_stack.address) as made:
        yield made
