"""A server that hangs: it keeps its connections and accepts new ones, but answers nothing."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from gateway import running
from gateway.config import cluster
from gateway.config.cluster import NAME, PATIENT
from gateway.run.admin import active_requests, healthy_upstreams
from tests.kit import breaking_upstream, toy_upstream
from tests.kit.connections import serving
from tests.kit.gateway import options_for, refused, trigger, until_readyz_says
from tests.kit.http_client import PATIENCE, http_client
from tests.kit.until import until


class Relay:
    """Passes bytes to a server until a test makes it hang."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._moving = asyncio.Event()
        self._moving.set()

    def hang(self) -> None:
        self._moving.clear()

    def go_on(self) -> None:
        self._moving.set()

    @contextlib.asynccontextmanager
    async def running(self, path: str) -> AsyncIterator[None]:
        async with serving(self._serve, path=path):
            yield

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._moving.wait()
        there, back = await asyncio.open_unix_connection(self._target)
        await asyncio.gather(self._copy(reader, back), self._copy(there, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                await self._moving.wait()
                writer.write(data)
        writer.close()


@dataclass
class Pair:
    """A gateway with two servers, of which each can hang."""

    relays: tuple[Relay, Relay]
    paths: tuple[str, str]
    admin: Path
    client: httpx.AsyncClient

    async def until_used(self, *paths: str, cluster: str = NAME) -> None:
        async def are_used() -> bool:
            return await healthy_upstreams(self.admin, cluster) == {*paths}

        await until(are_used, f"{paths} are used by {cluster}")


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers may be late for as long as a test needs."""
    monkeypatch.setattr(cluster, "PATIENT_SECONDS", PATIENCE)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        server, *paths = (f"{folder}/{name}.sock" for name in ("server", "one", "two"))
        options = options_for(folder, *(f"unix:{path}" for path in paths))
        relays = Relay(server), Relay(server)
        assert options.admin_path
        async with (
            toy_upstream.running(f"unix:{server}"),
            relays[0].running(paths[0]),
            relays[1].running(paths[1]),
            running(options, workdir=folder),
            http_client(f"http://127.0.0.1:{options.port}") as client,
        ):
            made = Pair(relays, (paths[0], paths[1]), options.admin_path, client)
            for name in (NAME, PATIENT):
                await made.until_used(*paths, cluster=name)
            yield made


async def test_a_hung_server_gets_no_calls(pair: Pair) -> None:
    pair.relays[0].hang()
    await pair.until_used(pair.paths[1])
    # On a busy machine the other server may be late, too: then both get calls until this one hangs for long.
    await pair.until_used(pair.paths[1], cluster=PATIENT)
    assert {(await trigger(pair.client)).status_code for _ in range(20)} == {204}
    pair.relays[0].go_on()
    await pair.until_used(*pair.paths)


async def test_servers_that_are_all_late_get_calls(patient: None, pair: Pair) -> None:
    for relay in pair.relays:
        relay.hang()
    await pair.until_used()
    calls = [asyncio.create_task(trigger(pair.client)) for _ in range(10)]

    async def are_in_progress() -> bool:
        assert not any(call.done() for call in calls)
        return await active_requests(pair.admin) == len(calls)

    await until(are_in_progress, "the calls are in progress")
    await pair.until_used()  # they were made while no server was in time
    for relay in pair.relays:
        relay.go_on()
    assert {(await call).status_code for call in calls} == {204}


async def test_servers_that_all_hang_get_no_calls(pair: Pair) -> None:
    """They fail at once, and callers know that nothing was accepted."""
    for relay in pair.relays:
        relay.hang()
    await pair.until_used(cluster=PATIENT)
    refused(await trigger(pair.client), 503, "SERVER_UNAVAILABLE")
    for relay in pair.relays:
        relay.go_on()
    await pair.until_used(*pair.paths)
    assert (await trigger(pair.client)).status_code == 204


async def test_a_server_whose_calls_hang_is_left_out() -> None:
    """Its health check passes."""
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        hung, well = f"{folder}/hung.sock", f"{folder}/well.sock"
        options = options_for(folder, f"unix:{hung}", f"unix:{well}", request_timeout=1.0)
        admin = options.admin_path
        assert admin
        async with (
            toy_upstream.running(f"unix:{well}"),
            breaking_upstream.running(hung, None),
            running(options, workdir=folder),
            http_client(f"http://127.0.0.1:{options.port}") as client,
        ):
            await until_readyz_says(200, options)

            async def left_out() -> bool:
                await asyncio.gather(*(trigger(client) for _ in range(10)))
                return await healthy_upstreams(admin, "server") == {well}

            await until(left_out, "the server whose calls hang is left out")
