"""`clarion health`, which health checks of containers run."""

from __future__ import annotations

import socket
from pathlib import Path

from server.config import load
from server.process.local_health import check_local
from tests.kit.commands import clarion
from tests.kit.stack import Stack, free_port


def addresses(**others: str) -> dict[str, str]:
    """Return settings with addresses at which nothing listens, except for the given ones."""
    return {
        "CLARION_SERVER_LISTEN": f"127.0.0.1:{free_port()}",
        "CLARION_DISPATCH_METRICS": f"127.0.0.1:{free_port()}",
        "CLARION_GATEWAY_PORT": str(free_port()),
        "CLARION_PORTAL_LISTEN": f"127.0.0.1:{free_port()}",
        **others,
    }


async def test_health_of_running_processes(demo: Stack, tmp_path: Path) -> None:
    listen = f"unix:{demo.server_socket}"
    port = demo.url.rpartition(":")[2]
    variables = addresses(CLARION_SERVER_LISTEN=listen, CLARION_GATEWAY_PORT=port)
    done = await clarion(tmp_path, "health", **variables)
    assert (done.code, done.out, done.err) == (0, "server: ready\ngateway: ready\n", "")
    done = await clarion(tmp_path, "health", "portal", **variables)
    assert (done.code, done.out, done.err) == (1, "", "portal: nothing listens\n")


async def test_health_without_any_process(tmp_path: Path) -> None:
    done = await clarion(tmp_path, "health", **addresses())
    assert (done.code, done.err) == (1, "no process of Clarion listens on this machine\n")


async def test_health_of_a_dispatcher_without_an_address(tmp_path: Path) -> None:
    done = await clarion(tmp_path, "health", "dispatcher")
    assert done.code == 2
    assert done.err.startswith("clarion: dispatch.metrics is empty; set it")


async def test_process_that_hangs_is_unhealthy() -> None:
    """It accepts connections, but does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        address = f"127.0.0.1:{hanging.getsockname()[1]}"
        settings = load(None, addresses(CLARION_SERVER_LISTEN=address, CLARION_PORTAL_LISTEN=address))
        found = await check_local(settings)
    assert set(found) == {"server", "portal"}
    assert all(found.values())
