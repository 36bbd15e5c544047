"""The whole product as real processes: `clarion up` in its own folder, on a free port."""

from __future__ import annotations

import contextlib
import json
import re
import textwrap
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx

from clarion.v1 import trigger_pb2, trigger_pb2_grpc
from lab.process import free_port
from lab.up import ClarionUp
from server.config import load
from server.domain.key import Scope, new_secret
from server.errors import StoreUnavailable
from server.postgres.embedded import EmbeddedPostgres
from server.process.health_check import wait_serving
from server.store.admin import keys, projects
from server.store.pool import Pool
from server.up.data_folder import sockets_folder
from server.up.demo import CAMPAIGNS
from server.wiring.common import opened_pool
from tests.kit import forker
from tests.kit.cluster import copy_cluster
from tests.kit.http_client import http_client
from tests.kit.until import until

__all__ = ["EXAMPLE", "PORTAL", "Stack", "free_port", "running_stack"]

EXAMPLE = {
    "user": {
        "external_id": "EXTERNAL_ID",
        "email": "test@test.com",
        "timezone": "America/Chicago",
        "locale": "en",
    },
    "event": {"random_field": "value"},
}


_TRIGGER = "/api/client/campaigns/44/trigger"
_DELIVERED = "SELECT 1 FROM attempt WHERE trigger_id = $1 AND outcome = 'delivered'"
_PATIENT: dict[str, dict[str, object]] = {
    "server": {"deadline": 30.0, "catalog_max_age": 60.0},
    "database": {"connect_timeout": 30.0},
    "gateway": {
        "request_timeout": 60.0,
        "header_timeout": 60.0,
        "body_timeout": 60.0,
        "latency_target": 10.0,
    },
    "portal": {"enabled": False},
}
"""A busy machine is not an outage. Most tests do not need the portal, whose process takes CPU to start."""
PORTAL: dict[str, object] = {"portal": {"enabled": True}}
"""The settings of a stack with a portal."""


@dataclass
class Stack(ClarionUp):
    """A running `clarion up` with the demo project."""

    start_seconds = 180.0
    stop_seconds = 120.0
    command_seconds = 120.0

    options: tuple[str, ...] = ("--demo",)
    campaigns: Path = CAMPAIGNS
    first_start: bool = False
    """Whether `clarion up` creates its database cluster, which takes seconds, or finds a copy of one."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

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

    def headers(self, key: str | None = None) -> dict[str, str]:
        return {"authorization": f"Bearer {key or self.key}", "content-type": "application/json"}

    def metadata(self, key: str | None = None) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {key or self.key}"),)

    @contextlib.asynccontextmanager
    async def pool(self) -> AsyncIterator[Pool]:
        """Open a pool on its own database, which may be restarting after a test that stopped it."""
        url = EmbeddedPostgres(self.data, self.server_socket.parent).url
        settings = load(None, {"CLARION_DATABASE_URL": url})

        async def opened() -> Pool | None:
            with contextlib.suppress(StoreUnavailable):
                return await stack.enter_async_context(opened_pool(settings))
            return None

        async with contextlib.AsyncExitStack() as stack:
            found = await until(opened, "the database accepts connections")
            assert found
            yield found

    async def run(self, *words: str, **env: str) -> tuple[int, str, str]:
        """Run another `clarion` command in the stack's folder; return exit code, stdout and stderr."""
        return await forker.run(
            words, folder=self.folder, env={**self.environment, **env}, seconds=self.command_seconds
        )

    def log(self, name: str) -> str:
        path = self.data / "log" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def outbox(self, channel: str) -> list[Path]:
        return sorted((self.data / "outbox" / channel).glob("*.*"))

    def __post_init__(self) -> None:
        self.settings = _merged(_PATIENT, self.settings)

    async def start(self) -> None:
        """Start, and return when it prints that it is up."""
        if not self.first_start and not (self.data / "postgres").exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            await copy_cluster(self.data)
        await super().start()

    async def delivered(self, channel: str, trigger_id: str) -> Path:
        """Return the file in the outbox for a trigger, once it is there and its delivery is recorded."""
        suffix = "eml" if channel == "email" else "json"
        path = self.data / "outbox" / channel / f"{trigger_id}.{suffix}"
        await until(path.exists, lambda: f"{path}\n{self.log('dispatcher')[-2000:]}")
        async with self.pool() as pool:
            await until(lambda: pool.fetchval(_DELIVERED, uuid.UUID(trigger_id)), f"{path} is recorded")
        return path

    async def until_whole(self) -> None:
        """Return when every process works, for the next test of a stack of which this one stopped a part."""
        async with client(self) as http:

            async def accepted() -> str:
                try:
                    answer = await http.post(_TRIGGER, json=EXAMPLE, headers=self.headers())
                except httpx.TransportError:  # the gateway itself is starting
                    return ""
                return str(answer.headers.get("x-trigger-id", ""))

            for path in self.server_socket.parent.glob("server-*.sock"):
                await wait_serving(f"unix:{path}", self.start_seconds)
                async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
                    await until(lambda: self._accepts(channel), f"{path.name} accepts a trigger")
            await self.delivered("email", await until(accepted, "a trigger is accepted", self.start_seconds))

    async def until_key_works(self, key: str) -> None:
        """Return when the server knows the key."""
        async with client(self) as http:

            async def known() -> bool:
                return (await http.get("/api/client/keys", headers=self.headers(key))).status_code != 401

            await until(known, "the server knows the key")

    async def until_in_force(self) -> None:
        """Return when all processes know every key, limit, campaign and time zone stored before this call.

        A new key is a marker: a server reads all of them at once. The dispatcher logs the version that it
        has read.
        """
        secret = new_secret()
        async with self.pool() as pool:
            project = await projects.ensure_project(pool, "markers")
            await keys.create_key(pool, secret, project_id=project, name="marker", scopes={Scope.TRIGGER})
            version = await pool.fetchval("SELECT version FROM catalog_version")
        for path in self.server_socket.parent.glob("server-*.sock"):
            async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
                await until(lambda: self._knows(channel, secret), f"{path.name} knows the last change")
        await until(lambda: self._dispatcher_version() >= version, "the dispatcher knows the last change")

    def _dispatcher_version(self) -> int:
        """Return the version of the catalog that the dispatcher has."""
        loaded = re.findall(
            r'^{"version":(\d+),.*"event":"catalog loaded"', self.log("dispatcher"), re.MULTILINE
        )
        return int(loaded[-1]) if loaded else -1

    async def _accepts(self, channel: grpc.aio.Channel) -> bool:
        user = trigger_pb2.EmailUser(external_id="x", email="test@test.com")
        request = trigger_pb2.TriggerEmailRequest(campaign_id=44, user=user)
        try:
            await trigger_pb2_grpc.TriggerServiceStub(channel).TriggerEmail(request, metadata=self.metadata())
        except grpc.aio.AioRpcError:
            return False
        return True

    async def _knows(self, channel: grpc.aio.Channel, secret: str) -> bool:
        try:
            await trigger_pb2_grpc.TriggerServiceStub(channel).TriggerEmail(
                trigger_pb2.TriggerEmailRequest(), metadata=self.metadata(secret)
            )
        except grpc.aio.AioRpcError as error:
            return error.code() is not grpc.StatusCode.UNAUTHENTICATED
        return True

    async def json(self, *words: str) -> object:
        """Run a command that prints JSON; return what it printed."""
        code, out, err = await self.run(*words)
        assert code == 0, err
        return json.loads(out)


@contextlib.asynccontextmanager
async def running_stack(folder: Path, settings: dict[str, object] | None = None) -> AsyncIterator[Stack]:
    """Run a stack for the block."""
    stack = Stack(folder, free_port(), settings or {})
    try:
        await stack.start()
        yield stack
    finally:
        await stack.stop()


def _merged(
    defaults: Mapping[str, Mapping[str, object]], settings: Mapping[str, object]
) -> dict[str, object]:
    """Return tables of settings over those of the defaults."""
    tables = {name: dict(table) for name, table in defaults.items()}
    for name, table in settings.items():
        assert isinstance(table, Mapping)
        tables[name] = {**tables.get(name, {}), **table}
    return dict(tables)


def stub(target: str) -> tuple[grpc.aio.Channel, trigger_pb2_grpc.TriggerServiceStub]:
    """Return a channel and a stub on it."""
    channel = grpc.aio.insecure_channel(target)
    return channel, trigger_pb2_grpc.TriggerServiceStub(channel)


def client(stack: Stack, *, http2: bool = False) -> httpx.AsyncClient:
    """Return an HTTP client for the stack's REST side."""
    return http_client(stack.url, http1=not http2, http2=http2)


def dedented(text: str) -> str:
    """Return a block of text without its common indentation."""
    return textwrap.dedent(text).strip()
