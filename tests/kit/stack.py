"""The whole product as real processes: `clarion up` in its own folder, on a free port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import textwrap
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import httpx
import psutil
import tomlkit

from clarion.v1 import trigger_pb2, trigger_pb2_grpc
from server.config import load
from server.domain.key import Scope, new_secret
from server.postgres.embedded import EmbeddedPostgres
from server.store.admin import keys, projects
from server.store.pool import Pool
from server.up.data_folder import sockets_folder
from server.up.demo import CAMPAIGNS
from server.wiring.common import opened_pool
from tests.kit.cluster import copy_cluster
from tests.kit.until import until

__all__ = ["EXAMPLE", "Stack", "free_port", "running_stack"]

EXAMPLE = {
    "user": {
        "external_id": "EXTERNAL_ID",
        "email": "test@test.com",
        "timezone": "America/Chicago",
        "locale": "en",
    },
    "event": {"random_field": "value"},
}
START_SECONDS = 90.0
STOP_SECONDS = 60.0


def free_port() -> int:
    """Return a port of the loopback that nothing uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Stack:
    """A running `clarion up`."""

    folder: Path
    port: int
    settings: dict[str, object] = field(default_factory=dict)
    campaigns: Path = CAMPAIGNS
    first_start: bool = False
    """Whether `clarion up` creates its database cluster, which takes seconds, or finds a copy of one."""
    output: list[str] = field(default_factory=list)
    process: asyncio.subprocess.Process | None = None
    _reader: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        return self.folder / ".clarion"

    @property
    def key(self) -> str:
        return (self.data / "demo-key").read_text().strip()

    @property
    def server_socket(self) -> Path:
        return sockets_folder(self.data) / "server-0.sock"

    @property
    def server_target(self) -> str:
        """The first server's own socket, past the gateway."""
        return f"unix:{self.server_socket}"

    @property
    def config(self) -> Path:
        return self.folder / "clarion.toml"

    def headers(self, key: str | None = None) -> dict[str, str]:
        return {"authorization": f"Bearer {key or self.key}", "content-type": "application/json"}

    def metadata(self, key: str | None = None) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {key or self.key}"),)

    def pool(self) -> contextlib.AbstractAsyncContextManager[Pool]:
        """Open a pool on its own database."""
        url = EmbeddedPostgres(self.data, self.server_socket.parent).url
        return opened_pool(load(None, {"CLARION_DATABASE_URL": url}))

    def log(self, name: str) -> str:
        path = self.data / "log" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def outbox(self, channel: str) -> list[Path]:
        return sorted((self.data / "outbox" / channel).glob("*.*"))

    async def start(self) -> None:
        """Start, and return when it says that it is up."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(tomlkit.dumps(self._settings()))
        self.output.clear()
        if not self.first_start and not (self.data / "postgres").exists():
            await copy_cluster(self.data)
        self.process = await asyncio.create_subprocess_exec(
            *self._command("up", "--demo"),
            cwd=self.folder,
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = asyncio.create_task(self._read())
        await self.until_printed("Press Ctrl-C to stop")

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop by a signal; return the exit code."""
        if self.process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        async with asyncio.timeout(STOP_SECONDS):
            code = await self.process.wait()
        if self._reader:
            await self._reader
        self.process = None
        return code

    async def until_printed(self, text: str, *, since: int = 0) -> str:
        """Return the line that contains the text, once it is printed.

        Args:
            text: Part of a line.
            since: The number of lines to skip.

        Raises:
            AssertionError: The process ended without it, or did not print it in time.
        """

        def printed() -> str | None:
            found = next((line for line in self.output[since:] if text in line), None)
            if found is None and self._reader and self._reader.done():
                raise AssertionError(f"ended without printing {text!r}:\n{''.join(self.output)}")
            return found

        line = await until(
            printed, lambda: f"{text!r} in the output:\n{''.join(self.output[since:])}", START_SECONDS
        )
        assert line
        return line

    async def delivered(self, channel: str, trigger_id: str) -> Path:
        """Return the file in the outbox for a trigger, once it is there."""
        suffix = "eml" if channel == "email" else "json"
        path = self.data / "outbox" / channel / f"{trigger_id}.{suffix}"
        await until(path.exists, lambda: f"{path}\n{self.log('dispatcher')[-2000:]}")
        return path

    async def until_key_works(self, key: str) -> None:
        """Return when the server knows the key."""
        async with client(self) as http:

            async def known() -> bool:
                return (await http.get("/api/client/keys", headers=self.headers(key))).status_code != 401

            await until(known, "the server knows the key")

    async def until_in_force(self) -> None:
        """Return when all server processes know every key, limit and campaign stored before this call.

        A new key is a marker: a server reads all of them at once.
        """
        secret = new_secret()
        async with self.pool() as pool:
            project = await projects.ensure_project(pool, "markers")
            await keys.create_key(pool, secret, project_id=project, name="marker", scopes={Scope.TRIGGER})
        for path in self.server_socket.parent.glob("server-*.sock"):
            async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
                await until(lambda: self._knows(channel, secret), f"{path.name} knows the last change")

    async def _knows(self, channel: grpc.aio.Channel, secret: str) -> bool:
        try:
            await trigger_pb2_grpc.TriggerServiceStub(channel).TriggerEmail(
                trigger_pb2.TriggerEmailRequest(), metadata=self.metadata(secret)
            )
        except grpc.aio.AioRpcError as error:
            return error.code() is not grpc.StatusCode.UNAUTHENTICATED
        return True

    async def run(self, *words: str, **env: str) -> tuple[int, str, str]:
        """Run another `clarion` command in this folder; return exit code, stdout, stderr."""
        process = await asyncio.create_subprocess_exec(
            *self._command(*words),
            cwd=self.folder,
            env={**self.environment, **env},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    async def json(self, *words: str) -> object:
        """Run a command that prints JSON; return what it printed."""
        code, out, err = await self.run(*words)
        assert code == 0, err
        return json.loads(out)

    def children(self) -> dict[str, psutil.Process]:
        """Return the supervisor's children by their role."""
        assert self.process is not None
        found: dict[str, psutil.Process] = {}
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):  # it ended meanwhile
                words = {Path(word).name for word in child.cmdline()}  # PostgreSQL's has its path
                for role in words & {"postgres", "serve", "dispatch", "gateway"}:
                    found.setdefault(role, child)
        return found

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CLARION_")}
        return {**kept, "PYTHONUNBUFFERED": "1"}

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-P", "-m", "server", "--config", str(self.config), *words]

    def _settings(self) -> dict[str, object]:
        # On a busy machine many calls at once take long, and some would be refused: see test_overload.py.
        gateway = {"port": self.port, "latency_target": 1.0}
        return {**self.settings, "gateway": {**gateway, **dict(self.settings.get("gateway", {}))}}  # type: ignore[call-overload]

    async def _read(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.output.append(line.decode(errors="replace"))


@contextlib.asynccontextmanager
async def running_stack(folder: Path, settings: dict[str, object] | None = None) -> AsyncIterator[Stack]:
    """Run a stack for the block."""
    stack = Stack(folder, free_port(), settings or {})
    try:
        await stack.start()
        yield stack
    finally:
        await stack.stop()


def stub(target: str) -> tuple[grpc.aio.Channel, trigger_pb2_grpc.TriggerServiceStub]:
    """Return a channel and a stub on it."""
    channel = grpc.aio.insecure_channel(target)
    return channel, trigger_pb2_grpc.TriggerServiceStub(channel)


def client(stack: Stack, *, http2: bool = False) -> httpx.AsyncClient:
    """Return an HTTP client for the stack's REST side."""
    return httpx.AsyncClient(base_url=stack.url, http1=not http2, http2=http2, timeout=30, trust_env=False)


def dedented(text: str) -> str:
    """Return a block of text without its common indentation."""
    return textwrap.dedent(text).strip()
