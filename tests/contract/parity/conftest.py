"""All ways into the shared product."""

from __future__ import annotations

import grpc
import httpx
import pytest

from tests.contract.conftest import Keys

from .ways import Ways


@pytest.fixture(scope="session")
def ways(
    http: httpx.AsyncClient, http2: httpx.AsyncClient, channels: dict[str, grpc.aio.Channel], secrets: Keys
) -> Ways:
    return Ways(http, http2, channels, secrets)
