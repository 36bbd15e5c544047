"""The gateway as a process: start, drain, end, and what it says when it cannot run."""

from __future__ import annotations

import asyncio
import stat
import sys
import tempfile
from pathlib import Path

import pytest

from gateway import GatewayError, GatewaySettings, check, running, wait_ready
from gateway.run.process import Envoy
from tests.kit.gateway import ToyStack, options_for, trigger, until_calls, until_readyz_says
from tests.kit.http_client import http_client
from tests.kit.stack import free_port
from tests.kit.until import TIMEOUT


async def test_stopping_completes_calls_in_flight(toy_stack: ToyStack) -> None:
    with tempfile.TemporaryDirectory() as folder:
        options = options_for(Path(folder), *toy_stack.options.upstreams)
        async with running(options, workdir=Path(folder)) as gateway:
            await until_readyz_says(200, options)
            async with http_client(f"http://127.0.0.1:{options.port}") as client:
                before = toy_stack.toy.calls
                flying = asyncio.create_task(trigger(client, "nap"))
                await until_calls(toy_stack.toy, before + 1)
                assert await gateway.stop() == 0
                assert (await flying).status_code == 204


async def test_sigterm_stops_the_runner_and_envoy(toy_stack: ToyStack) -> None:
    with tempfile.TemporaryDirectory() as folder:
        options = options_for(Path(folder), *toy_stack.options.upstreams, drain_timeout=20.0)
        code = "import asyncio, sys; from pathlib import Path; from gateway import *; "
        code += f"sys.exit(asyncio.run(run_gateway({options!r}, workdir=Path({folder!r}))))"
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
        try:
            await wait_ready(options, TIMEOUT)
            await until_readyz_says(200, options)
            process.terminate()
            assert await asyncio.wait_for(process.wait(), 60) == 0
        finally:
            if process.returncode is None:
                process.kill()
        with pytest.raises(GatewayError, match=r"not ready within 0\.1 s"):
            await wait_ready(options, 0.1)


async def test_admin_socket_is_optional(toy_stack: ToyStack, tmp_path: Path) -> None:
    options = GatewaySettings(port=free_port(), upstreams=toy_stack.options.upstreams)
    async with running(options, workdir=tmp_path) as gateway:
        assert gateway.returncode is None
    assert gateway.returncode == 0


async def test_used_port_is_reported_in_one_line(toy_stack: ToyStack, tmp_path: Path) -> None:
    with pytest.raises(
        GatewayError,
        match=r"cannot listen on .*: Address already in use; set CLARION_GATEWAY_PORT",
    ):
        async with running(toy_stack.options, workdir=tmp_path):
            pytest.fail("two gateways share a port")


async def test_envoy_accepts_the_configuration(tmp_path: Path) -> None:
    upstreams = ("server.internal:50051", "[::1]:50051")
    options = GatewaySettings(upstreams=upstreams, admin_socket=str(tmp_path / "a"), access_log=True)
    await check(options)


async def test_envoy_errors_are_reported_verbatim() -> None:
    broken = GatewaySettings(upstreams=("127.0.0.1:1",), host="no address")
    with pytest.raises(GatewayError, match="malformed IP address"):
        await check(broken)


async def test_configuration_and_admin_socket_are_private(toy_stack: ToyStack) -> None:
    assert toy_stack.options.admin_path
    for path in (toy_stack.options.admin_path, toy_stack.options.admin_path.with_name("envoy.json")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


async def test_very_long_log_line_is_relayed(tmp_path: Path) -> None:
    script = "import sys; sys.stderr.write('x' * 300_000 + chr(10) + 'the end' + chr(10))"
    process = await Envoy.start([sys.executable, "-c", script], tmp_path)
    async with asyncio.timeout(60):
        assert await process.wait() == 0
    assert process.last_lines.endswith("the end")
