"""Settings and fixtures for all tests."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
import trustme
from hypothesis import HealthCheck, settings

from tests.kit.cluster import share_clusters

if TYPE_CHECKING:
    from tests.kit.smtp_servers import MailServer
    from tests.kit.stack import Stack

# Tests start processes while gRPC's threads run: with its fork handlers, a child may die before its exec.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

# Hypothesis' own limits on time fail tests on a busy machine; pytest's timeout bounds them all the same.
# Each run draws other examples, so that half of the usual number finds the same a few runs later.
settings.register_profile(
    "any machine", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


@pytest.fixture(scope="session", autouse=True)
def _shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Name the folder that the workers of a run share: the parent of each worker's own."""
    base = tmp_path_factory.getbasetemp()
    share_clusters(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)


@pytest.fixture(scope="session", autouse=True)
def _few_authorities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Trust one authority instead of all public ones, whose certificates take up to 50 ms for each client."""
    file = tmp_path_factory.mktemp("authorities") / "one.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(file))
        yield


@pytest.fixture(scope="session")
async def mail() -> AsyncIterator[MailServer]:
    from tests.kit.smtp_servers import mail_server  # noqa: PLC0415 - slow; most single tests do not need it

    async with mail_server() as server:
        yield server


@pytest.fixture(scope="session")
async def demo(tmp_path_factory: pytest.TempPathFactory, mail: MailServer) -> AsyncIterator[Stack]:
    """Run a stack for tests of e2e and browser, each of which uses its own project or ids."""
    from tests.kit.stack import PORTAL, running_stack  # noqa: PLC0415 - as above

    smtp = {"type": "smtp", "host": "127.0.0.1", "port": mail.port, "security": "none"}
    settings: dict[str, object] = {
        "providers": {"sandbox": {"type": "sandbox"}, "smtp": smtp},
        "webhooks": {"allow": ["127.0.0.0/8"]},
        **PORTAL,
    }
    async with running_stack(tmp_path_factory.mktemp("demo"), settings) as stack:
        yield stack


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose path leaves room for sockets; pytest's own may not."""
    folder = Path(tempfile.mkdtemp(prefix="cl-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def _default_logging() -> None:
    """Undo the logging that an earlier test configured: a command run in-process logs errors only."""
    structlog.reset_defaults()
