"""One running stack and mail server for the end-to-end tests of a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.kit.smtp_servers import MailServer, mail_server
from tests.kit.stack import Stack, client, running_stack


@pytest.hookimpl(tryfirst=True)  # or xdist has named the groups already, where paths are given
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests that share a stack on one worker, so that it starts once."""
    for item in items:
        if "demo" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("demo"))


@pytest.fixture(scope="session")
async def mail() -> AsyncIterator[MailServer]:
    async with mail_server() as server:
        yield server


@pytest.fixture(scope="session")
async def demo(tmp_path_factory: pytest.TempPathFactory, mail: MailServer) -> AsyncIterator[Stack]:
    """Run a stack for tests that do not disturb each other: each uses its own project or ids."""
    smtp = {"type": "smtp", "host": "127.0.0.1", "port": mail.port, "security": "none"}
    settings: dict[str, object] = {
        "providers": {"sandbox": {"type": "sandbox"}, "smtp": smtp},
        "webhooks": {"allow": ["127.0.0.0/8"]},
    }
    async with running_stack(tmp_path_factory.mktemp("demo"), settings) as stack:
        yield stack


@pytest.fixture
async def rest(demo: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with client(demo) as session:
        session.headers.update(demo.headers())
        yield session
