"""PgBouncer in front of a PostgreSQL on TCP, from the system's package; tests skip where it is missing."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from server.postgres.run_as_nobody import choose_launch
from tests.kit.processes import is_listened_on
from tests.kit.stack import free_port
from tests.kit.tcp_postgres import ENCODED, PASSWORD, TcpPostgres
from tests.kit.until import until

__all__ = ["CERTIFICATE", "PgBouncer", "needs_pgbouncer", "pgbouncer"]

_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
_BINARY = shutil.which("pgbouncer", path=_PATH)
needs_pgbouncer = pytest.mark.skipif(_BINARY is None, reason="pgbouncer is not installed")
CERTIFICATE = Path(__file__).parent / "certs" / "smtp-test.pem"
"""For `localhost`, and its own root."""


@dataclass(frozen=True)
class PgBouncer:
    """Where it listens, for the roles of `TcpPostgres`."""

    port: int

    def url(self, query: str = "", database: str = "clarion", host: str = "127.0.0.1") -> str:
        """Return a URL with the password."""
        return f"postgresql://clarion:{ENCODED}@{host}:{self.port}/{database}{query}"


@asynccontextmanager
async def pgbouncer(folder: Path, postgres: TcpPostgres, **settings: str) -> AsyncIterator[PgBouncer]:
    """Run one in a folder with these settings, such as `pool_mode`."""
    assert _BINARY
    port = free_port()
    users = folder / "users.txt"
    users.write_text(f'"clarion" "{PASSWORD}"\n')
    lines = {
        "listen_addr": "127.0.0.1",
        "listen_port": str(port),
        "unix_socket_dir": "",
        "auth_type": "scram-sha-256",
        "auth_file": str(users),
        **settings,
    }
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\nclarion = host=127.0.0.1 port={postgres.port}\n[pgbouncer]\n"
        + "".join(f"{name} = {value}\n" for name, value in lines.items())
    )
    # It refuses to run as root.
    process = await asyncio.create_subprocess_exec(
        *choose_launch(Path(_BINARY)).command,
        _BINARY,
        "-q",
        str(configuration),
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        await until(lambda: is_listened_on(port), "PgBouncer listens")
        yield PgBouncer(port)
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()
