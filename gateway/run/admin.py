"""Asks Envoy's admin interface, which listens on a Unix socket only.

Without threads: the process that asks also starts Envoys, and code between fork and exec is not safe beside
threads.
"""

from __future__ import annotations

import asyncio
import http.client
import io
import json
from pathlib import Path
from typing import cast

__all__ = [
    "AdminError",
    "active_requests",
    "healthy_upstreams",
    "is_ready",
    "shed_down_to",
    "start_draining",
]

SECONDS = 2.0
"""The longest wait for an answer."""
LEAST = "adaptive_concurrency.gradient_controller.min_concurrency"
ACTIVE = "http.ingress.downstream_rq_active"


class AdminError(Exception):
    """The interface gives no answer that can be used."""


class _Received:
    """Bytes that were received, as `http.client` wants to read them."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._raw)


async def _ask(socket_path: Path, method: str, target: str) -> str:
    """Return the body of a 200.

    Raises:
        AdminError: there is none.
    """
    try:
        async with asyncio.timeout(SECONDS):
            raw = await _exchange(socket_path, f"{method} {target} HTTP/1.1\r\nhost: admin\r\n".encode())
        answer = http.client.HTTPResponse(cast("http.client.socket.socket", _Received(raw)))  # type: ignore[name-defined]
        answer.begin()
        text = answer.read().decode()
    except (OSError, http.client.HTTPException, UnicodeDecodeError) as error:
        raise AdminError(f"{target}: {error}") from error
    if answer.status != http.HTTPStatus.OK:
        raise AdminError(f"{target}: {answer.status}")
    return text


async def _exchange(socket_path: Path, words: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(socket_path))
    try:
        writer.write(words + b"connection: close\r\n\r\n")
        return await reader.read()
    finally:
        writer.close()


async def is_ready(socket_path: Path, epoch: int = 0) -> bool:
    """Return whether the Envoy of this restart epoch has started and listens.

    The one before answers on the same socket until the new one takes it over.
    """
    try:
        info = json.loads(await _ask(socket_path, "GET", "/server_info"))
    except (AdminError, ValueError):
        return False
    # JSON of a protobuf message leaves a 0 out.
    found = info.get("command_line_options", {}).get("restart_epoch", 0)
    return info.get("state") in {"LIVE", "DRAINING"} and found == epoch


async def shed_down_to(socket_path: Path, calls: int) -> None:
    """Allow the admission filter to let only so many calls in at once, if they take too long.

    It begins with the least that it is configured for, so its configuration says the most, and it is told
    the least here: a new gateway has not seen yet that calls are quick, and should not refuse the first ones.

    Raises:
        AdminError: the interface does not answer.
    """
    await _ask(socket_path, "POST", f"/runtime_modify?{LEAST}={calls}")


async def start_draining(socket_path: Path) -> None:
    """Make /readyz fail and ask callers to leave. Calls in flight go on.

    Raises:
        AdminError: the interface does not answer.
    """
    for target in ("/healthcheck/fail", "/drain_listeners?graceful&skip_exit"):
        await _ask(socket_path, "POST", target)


async def active_requests(socket_path: Path) -> int:
    """Return how many calls are in flight, also in the Envoy before this one while that ends.

    Raises:
        AdminError: the interface gives no number.
    """
    text = await _ask(socket_path, "GET", f"/stats?filter=^{ACTIVE}$")
    try:
        return int(text.rpartition(":")[2])
    except ValueError as error:
        raise AdminError(f"{ACTIVE}: {text!r}") from error


async def healthy_upstreams(socket_path: Path, cluster: str) -> set[str]:
    """Return the addresses that calls are sent to: paths of Unix sockets, or `host:port`.

    Raises:
        AdminError: the interface does not answer.
    """
    lines = (await _ask(socket_path, "GET", "/clusters")).splitlines()
    begin, end = f"{cluster}::", "::health_flags::healthy"
    return {line[len(begin) : -len(end)] for line in lines if line.startswith(begin) and line.endswith(end)}
