"""A server that hangs: it keeps its connections and accepts new ones, but answers nothing."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from gateway import running
from gateway.run.admin import healthy_upstreams
from tests.kit import breaking_upstream, toy_upstream
from tests.kit.connections import serving
from tests.kit.gateway import options_for, trigger, until_readyz_says
from tests.kit.http_client import http_client
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


async def test_a_hung_server_gets_no_calls() -> None:
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        hung, well = f"{folder}/hung.sock", f"{folder}/well.sock"
        options = options_for(folder, f"unix:{hung}", f"unix:{well}")
        relay = Relay(well)
        admin = options.admin_path
        assert admin

        async def used() -> set[str]:
            return await healthy_upstreams(admin, "server")

        async def both() -> bool:
            return await used() == {hung, well}

        async def one() -> bool:
            return await used() == {well}

        async def answered() -> bool:
            statuses = {(await trigger(client)).status_code for _ in range(20)}
            # A call at the hung server would be 504; 503 if checks of the other are late on a busy machine.
            assert statuses <= {204, 503}
            return statuses == {204}

        async with (
            toy_upstream.running(f"unix:{well}"),
            relay.running(hung),
            running(options, workdir=folder),
            http_client(f"http://127.0.0.1:{options.port}") as client,
        ):
            await until(both, "both servers are used")
            relay.hang()
            await until(one, "the hung server is left out")
            await until(answered, "20 calls in a row are answered")
            relay.go_on()
            await until(both, "the server is used again")


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
