"""One running stack and mail server for the end-to-end tests of a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.kit.stack import Stack, client


@pytest.hookimpl(tryfirst=True)  # or xdist has named the groups already, where paths are given
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests that share a stack on one worker, so that it starts once."""
    for item in items:
        if "demo" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("demo"))


@pytest.fixture
async def rest(demo: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with client(demo) as session:
        session.headers.update(demo.headers())
        yield session
