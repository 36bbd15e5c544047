"""SIGHUP to the gateway's runner: a new Envoy takes over, and no call notices."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import psutil
import pytest
from msgspec.structs import replace

from gateway import GatewaySettings
from gateway.run.shared_memory import SHARED_MEMORY
from tests.kit import toy_upstream
from tests.kit.connections import serving
from tests.kit.gateway_process import TOY, call, options_for, ready_runner, short_folder, trigger
from tests.kit.http_client import http_client
from tests.kit.processes import has_ended
from tests.kit.toy_upstream import Toy
from tests.kit.until import until

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="Envoy has hot restart on Linux only"),
]
HANDED_OVER = "was handed over to a new Envoy"
GOES_ON = "the gateway keeps running with its previous settings: "


@dataclass(frozen=True)
class RunnerProcess:
    """A gateway runner in its own process, with the toy server behind it."""

    options: GatewaySettings
    folder: Path
    process: asyncio.subprocess.Process
    toy: Toy

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def envoys(self) -> list[psutil.Process]:
        """Return those that serve, the oldest first; not those that only check a configuration."""
        found = psutil.Process(self.process.pid).children()
        return sorted(filter(_serves, found), key=psutil.Process.create_time)

    def renew(self, options: GatewaySettings | None = None) -> None:
        (self.folder / "options").write_text(repr(options or self.options))
        self.process.send_signal(signal.SIGHUP)

    async def said(self, words: str, times: int = 1) -> None:
        await until(lambda: self.log().count(words) >= times, lambda: f"{words!r} in the log:\n{self.log()}")

    async def changed_from(self, old: psutil.Process) -> None:
        """Return when only the new Envoy is left."""
        await until(
            lambda: len(self.envoys()) == 1 and self.envoys()[0] != old,
            lambda: f"the old Envoy has ended:\n{self.log()}",
        )

    def memory(self) -> Path:
        number = (self.folder / "base-id").read_text().strip()
        return SHARED_MEMORY / f"envoy_shared_memory_{number}0"


@pytest.fixture
async def runner() -> AsyncIterator[RunnerProcess]:
    async with short_folder() as folder, toy_upstream.running(f"unix:{folder / TOY}") as toy:
        # The old Envoy of a restart lasts so long, and one that is stopped no longer than its calls. A busy
        # machine must complete calls in flight within this time.
        options = options_for(folder, drain_timeout=8.0)
        async with ready_runner(options, folder) as process:
            yield RunnerProcess(options, folder, process, toy)


def _serves(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):  # it ended meanwhile
        return "--restart-epoch" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
    return False


class Load:
    """Calls of every kind, over and over; what is not answered well is kept."""

    def __init__(self, port: int) -> None:
        self.answered = 0
        self.failures: list[str] = []
        self._url = f"http://127.0.0.1:{port}"
        self._target = f"127.0.0.1:{port}"
        self._ending = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        kept = http_client(self._url)
        # HTTP/2 comes by gRPC: the library below httpx takes no answer after a GOAWAY (RFC 9113, 6.8, does).
        async with (
            kept,
            grpc.aio.insecure_channel(self._target) as channel,
            asyncio.TaskGroup() as group,
        ):
            calls: list[Callable[[], Awaitable[object]]] = [
                lambda: self._rest(kept),
                self._by_new_connection,
                lambda: call(channel),
            ]
            for each in calls:
                group.create_task(self._repeat(each))
            await until(lambda: self.answered > len(calls), "calls of all kinds are answered")
            try:
                yield
            finally:
                self._ending.set()

    async def more(self, count: int) -> None:
        """Return when this number of further calls has been answered."""
        wanted = self.answered + count
        await until(lambda: self.answered >= wanted, f"{count} more calls are answered")

    async def _repeat(self, ask: Callable[[], Awaitable[object]]) -> None:
        while not self._ending.is_set():
            try:
                await ask()
                self.answered += 1
            except (AssertionError, httpx.HTTPError, grpc.aio.AioRpcError) as error:
                self.failures.append(repr(error))
            await asyncio.sleep(0.005)  # leave the processors to the Envoys

    async def _rest(self, client: httpx.AsyncClient) -> None:
        answer = await trigger(client)
        assert answer.status_code == 204, answer.text

    async def _by_new_connection(self) -> None:
        async with http_client(self._url) as client:
            await self._rest(client)


@pytest.mark.long
async def test_two_restarts_in_a_row_fail_no_call(runner: RunnerProcess) -> None:
    (old,), load = runner.envoys(), Load(runner.options.port)
    async with load.running():
        runner.renew()
        await runner.said(HANDED_OVER)
        runner.renew()
        await runner.said(HANDED_OVER, times=2)
        await runner.changed_from(old)
        await load.more(40)
    assert not load.failures
    assert runner.process.returncode is None


@pytest.mark.long
async def test_old_envoy_completes_calls_in_flight(runner: RunnerProcess) -> None:
    (old,), url = runner.envoys(), f"http://127.0.0.1:{runner.options.port}"
    async with http_client(url) as client:
        before = runner.toy.calls
        runner.toy.free.clear()
        flying = asyncio.create_task(trigger(client, "wait"))
        await until(lambda: runner.toy.calls > before, "the call is at the server")
        runner.renew()
        await runner.said(HANDED_OVER)
        runner.toy.free.set()
        assert (await flying).status_code == 204
    await runner.changed_from(old)


@pytest.mark.long
async def test_new_envoy_uses_the_new_settings(runner: RunnerProcess) -> None:
    runner.renew(replace(runner.options, max_body_bytes=1))
    await runner.said(HANDED_OVER)
    async with http_client(f"http://127.0.0.1:{runner.options.port}") as client:
        assert (await trigger(client)).status_code == 413


async def test_invalid_settings_keep_the_old_envoy(runner: RunnerProcess) -> None:
    (old,), load = runner.envoys(), Load(runner.options.port)
    async with load.running():
        runner.renew(replace(runner.options, host="no address"))
        await runner.said(GOES_ON)
        runner.renew(replace(runner.options, tls_certificate="/none", tls_key="/none"))
        await runner.said("tls_certificate: cannot read /none")
        (runner.folder / "options").write_text("no options at all")
        runner.process.send_signal(signal.SIGHUP)
        await runner.said(GOES_ON, times=3)
        await load.more(20)
    assert not load.failures
    assert runner.envoys() == [old]


@contextlib.asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """Listen and never answer: a new Envoy is not ready until its health check is answered."""

    async def hold(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with serving(hold) as url:
        yield url.removeprefix("http://")


@pytest.mark.long
async def test_failed_restart_keeps_the_old_envoy(runner: RunnerProcess) -> None:
    (old,), load = runner.envoys(), Load(runner.options.port)
    async with silent_server() as silent, load.running():
        runner.renew(replace(runner.options, upstreams=(*runner.options.upstreams, silent)))
        await until(lambda: len(runner.envoys()) == 2, lambda: f"a second Envoy runs:\n{runner.log()}")
        runner.envoys()[-1].kill()
        await runner.said(f"{GOES_ON}Envoy ended with exit code -9")
        assert runner.envoys() == [old]
        runner.renew()
        await runner.said(HANDED_OVER)
        await runner.changed_from(old)
        await load.more(20)
    assert not load.failures


async def test_sigterm_during_a_restart_fails_no_call(runner: RunnerProcess) -> None:
    url = f"http://127.0.0.1:{runner.options.port}"
    memory = runner.memory()
    assert memory.exists()
    async with silent_server() as silent, http_client(url) as client:
        runner.renew(replace(runner.options, upstreams=(*runner.options.upstreams, silent)))
        await until(lambda: len(runner.envoys()) == 2, lambda: f"a second Envoy runs:\n{runner.log()}")
        envoys, before = runner.envoys(), runner.toy.calls
        flying = asyncio.create_task(trigger(client, "nap"))
        await until(lambda: runner.toy.calls > before, "the call is at the server")
        runner.process.terminate()
        assert (await flying).status_code == 204
        assert await asyncio.wait_for(runner.process.wait(), 60) == 0
    assert not [one for one in envoys if one.is_running()]
    assert not memory.exists()


@pytest.mark.long
async def test_killing_the_runner_ends_its_envoys(runner: RunnerProcess) -> None:
    (old,) = runner.envoys()
    runner.renew()
    await runner.said(HANDED_OVER)
    await runner.changed_from(old)  # in the very instant, Linux' death signal was seen to fail
    (envoy,), memory = runner.envoys(), runner.memory()
    runner.process.kill()
    assert has_ended(envoy.pid)
    memory.unlink()  # `clarion up` does so at the gateway's next start


async def test_hot_restart_files_are_private(runner: RunnerProcess) -> None:
    assert (runner.folder / "base-id").read_text().strip().isdecimal()
    sockets = [file for file in runner.folder.iterdir() if file.name.startswith("hot_")]
    assert sockets
    assert not [file for file in sockets if file.stat().st_mode & 0o077], "others can reach the sockets"
    assert runner.memory().stat().st_mode & 0o077 == 0
