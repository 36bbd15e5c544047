"""A browser that is only an HTTP client: fast, and free to send what no browser would."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest

from server.admin.client import LocalAdmin
from server.config import load
from server.store.pool import Pool
from server.wiring.operators import build_backend
from tests.kit.admin import create_admin_key
from tests.kit.portal_world import World, build_world, end_world
from tests.kit.stack import Stack, client

__all__ = ["Visitor"]

SAME = {"sec-fetch-site": "same-origin"}


@dataclass
class Visitor:
    """A person with a browser."""

    http: httpx.AsyncClient
    key: str = ""

    async def get(self, path: str, **options: object) -> httpx.Response:
        return await self.http.get(f"/portal{path}", **options)  # type: ignore[arg-type]

    async def post(
        self, path: str, fields: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """Send a form with the CSRF token of the session."""
        data = {"csrf_token": await self.csrf(), **(fields or {})}
        return await self.http.post(
            f"/portal{path}", data=data, headers=headers if headers is not None else SAME
        )

    async def csrf(self) -> str:
        found = re.search('name="csrf_token" value="(.*?)"', (await self.get("/projects")).text)
        return found[1] if found else ""

    async def sign_in(self, key: str = "", **fields: str) -> httpx.Response:
        data = {"key": key or self.key, **fields}
        return await self.http.post("/portal/sign-in", data=data, headers=SAME)


@pytest.fixture(scope="session")
async def local(pool: Pool) -> LocalAdmin:
    return LocalAdmin(build_backend(load(None, {}), pool))


@pytest.fixture
async def stranger(stack: Stack) -> AsyncIterator[Visitor]:
    async with client(stack) as http:
        yield Visitor(http)


@pytest.fixture
async def admin(stack: Stack, local: LocalAdmin) -> AsyncIterator[Visitor]:
    async with client(stack) as http:
        visitor = Visitor(http, await create_admin_key(local, "admin"))
        await visitor.sign_in()
        yield visitor


@pytest.fixture
async def viewer(stack: Stack, local: LocalAdmin) -> AsyncIterator[Visitor]:
    async with client(stack) as http:
        visitor = Visitor(http, await create_admin_key(local, "viewer"))
        await visitor.sign_in()
        yield visitor


@pytest.fixture(scope="module")
async def world(stack: Stack, pool: Pool, local: LocalAdmin) -> AsyncIterator[World]:
    """One of everything, with markup in all texts."""
    async with client(stack) as http:
        yield await build_world(stack, pool, local, http)
    await end_world(pool)
