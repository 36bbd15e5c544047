"""Callers of the admin API: one of each role, over REST."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from server.admin.client import LocalAdmin
from server.config import load
from server.store.pool import Pool
from server.wiring.operators import build_backend
from tests.kit.admin import create_admin_key
from tests.kit.stack import Stack, client

__all__ = ["Operator"]

PREFIX = "/api/admin/v1"


@dataclass
class Operator:
    """A caller with an admin key."""

    http: httpx.AsyncClient
    secret: str

    async def call(self, method: str, path: str, body: object = None, **options: Any) -> httpx.Response:
        """Call a path below the admin API."""
        headers = {"authorization": f"Bearer {self.secret}"}
        return await self.http.request(method, PREFIX + path, json=body, headers=headers, **options)


@pytest.fixture(scope="session")
async def local(pool: Pool) -> LocalAdmin:
    return LocalAdmin(build_backend(load(None, {}), pool))


@pytest.fixture
async def admin(stack: Stack, local: LocalAdmin) -> AsyncIterator[Operator]:
    async with client(stack) as http:
        yield Operator(http, await create_admin_key(local, "admin"))


@pytest.fixture
async def viewer(stack: Stack, local: LocalAdmin) -> AsyncIterator[Operator]:
    async with client(stack) as http:
        yield Operator(http, await create_admin_key(local, "viewer"))


@pytest.fixture
async def demo_admin(stack: Stack, local: LocalAdmin) -> AsyncIterator[Operator]:
    """An admin of the project demo only."""
    async with client(stack) as http:
        yield Operator(http, await create_admin_key(local, "admin", project="demo"))
