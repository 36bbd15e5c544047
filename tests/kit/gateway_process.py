"""What tests of the gateway's transport share: options, a runner as a process, and calls of both kinds."""

from __future__ import annotations

import asyncio
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx

from gateway import GatewaySettings
from tests.kit import gateway as gateway_kit
from tests.kit.gateway import trigger
from tests.kit.http_client import PATIENCE, http_client
from tests.kit.until import until

__all__ = ["TOY", "call", "options_for", "ready_runner", "short_folder", "trigger"]

TOY = "server.sock"
PROGRAM = """
import asyncio, sys
from pathlib import Path
from gateway import GatewaySettings, run_gateway
from gateway.config import cluster

checked = cluster._health_check

# The toy server runs in the loop of the tests. A silent one delays a start until a test ends it.
cluster._health_check = lambda _, service="": checked(60.0, service)

def options():
    return eval(Path(sys.argv[2]).read_text())

sys.exit(asyncio.run(run_gateway(options(), workdir=Path(sys.argv[1]), reload=options)))
"""


@asynccontextmanager
async def short_folder() -> AsyncIterator[Path]:
    """Make a folder whose sockets' paths are short enough."""
    with tempfile.TemporaryDirectory(prefix="clarion-") as folder:
        yield Path(folder)


def options_for(folder: Path, **more: Any) -> GatewaySettings:
    """Return options for a gateway in front of the toy server of this folder."""
    return gateway_kit.options_for(folder, f"unix:{folder / TOY}", **{"drain_timeout": 3.0, **more})


@asynccontextmanager
async def ready_runner(options: GatewaySettings, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the gateway's runner as a process. It reads `folder/options` at its start and at SIGHUP."""
    (folder / "options").write_text(repr(options))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, str(folder), str(folder / "options")),
        stderr=(folder / "log").open("wb"),
    )
    try:
        await until(
            lambda: _is_open(options), lambda: f"the gateway answers:\n{(folder / 'log').read_text()}"
        )
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), 60)


async def _is_open(options: GatewaySettings) -> bool:
    context: ssl.SSLContext | bool = False
    scheme = "https" if options.tls_certificate else "http"
    async with http_client(verify=context) as client:
        try:
            url = f"{scheme}://127.0.0.1:{options.port}/readyz"
            return bool((await client.get(url)).headers.get("server") == "clarion")
        except httpx.TransportError:
            return False


async def call(channel: grpc.aio.Channel, campaign: str = "44") -> str:
    """Trigger over gRPC; return the id."""
    return str((await gateway_kit.call(channel, campaign, timeout=PATIENCE)).trigger_id)
