"""Client of Envoy's admin interface, which listens on a Unix socket only."""

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
    "is_live",
    "is_ready",
    "metrics",
    "set_min_concurrency",
    "start_draining",
]

TIMEOUT_SECONDS = 10.0
"""Envoy's main thread answers, which starts Envoy and may have little CPU."""
MIN_CONCURRENCY = "adaptive_concurrency.gradient_controller.min_concurrency"
ACTIVE = "http.ingress.downstream_rq_active"
LIVE = "server.live"


class AdminError(Exception):
    """The admin interface did not answer, or its answer cannot be used."""


class _Received:
    """Received bytes as the socket that `http.client` wants to read."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._raw)


async def _request(socket_path: Path, method: str, target: str) -> str:
    """Return the body of an answer with status 200.

    Raises:
        AdminError: there was no answer, or one with another status.
    """
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            raw = await _exchange(socket_path, f"{method} {target} HTTP/1.1\r\nhost: admin\r\n".encode())
        answer = http.client.HTTPResponse(cast("http.client.socket.socket", _Received(raw)))  # type: ignore[name-defined]
        answer.begin()
        text = answer.read().decode()
    except (OSError, http.client.HTTPException, UnicodeDecodeError) as error:
        raise AdminError(f"{target}: {error}") from error
    if answer.status != http.HTTPStatus.OK:
        raise AdminError(f"{target}: {answer.status}")
    return text


async def _exchange(socket_path: Path, head: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(socket_path))
    try:
        writer.write(head + b"connection: close\r\n\r\n")
        return await reader.read()
    finally:
        writer.close()


async def _gauge(socket_path: Path, name: str) -> int:
    text = await _request(socket_path, "GET", f"/stats?filter=^{name}$")
    try:
        return int(text.rpartition(":")[2])
    except ValueError as error:
        raise AdminError(f"{name}: {text!r} is not a number") from error


async def is_ready(socket_path: Path, epoch: int = 0) -> bool:
    """Return whether the Envoy of this restart epoch has started and listens.

    Its predecessor answers on the same socket until the new one takes it over.
    """
    try:
        info = json.loads(await _request(socket_path, "GET", "/server_info"))
    except (AdminError, ValueError):
        return False
    # The JSON form of a protobuf message omits zeros.
    found = info.get("command_line_options", {}).get("restart_epoch", 0)
    return info.get("state") in {"LIVE", "DRAINING"} and found == epoch


async def is_live(socket_path: Path) -> bool:
    """Return whether Envoy's start is complete, its workers included."""
    try:
        return await _gauge(socket_path, LIVE) == 1
    except AdminError:
        return False


async def set_min_concurrency(socket_path: Path, calls: int) -> None:
    """Set how many concurrent calls the admission filter admits at least.

    The filter starts at its configured minimum, which is therefore the maximum: a new gateway has no
    measurements yet and must not reject its first calls. The real minimum is set here.

    Raises:
        AdminError: the admin interface did not answer.
    """
    await _request(socket_path, "POST", f"/runtime_modify?{MIN_CONCURRENCY}={calls}")


async def start_draining(socket_path: Path) -> None:
    """Make /readyz fail and ask callers to close their connections. Calls in flight continue.

    Raises:
        AdminError: the admin interface did not answer.
    """
    for target in ("/healthcheck/fail", "/drain_listeners?graceful&skip_exit"):
        await _request(socket_path, "POST", target)


async def active_requests(socket_path: Path) -> int:
    """Return the number of calls in flight, those of a predecessor that is still ending included.

    Raises:
        AdminError: the admin interface did not return a number.
    """
    return await _gauge(socket_path, ACTIVE)


async def metrics(socket_path: Path) -> str:
    """Return Envoy's metrics in Prometheus's text format, without those that never changed.

    Raises:
        AdminError: the admin interface did not answer.
    """
    return await _request(socket_path, "GET", "/stats/prometheus?usedonly")


async def healthy_upstreams(socket_path: Path, cluster: str) -> set[str]:
    """Return the addresses of the servers that get calls: paths of Unix sockets, or `host:port`.

    Raises:
        AdminError: the admin interface did not answer.
    """
    lines = (await _request(socket_path, "GET", "/clusters")).splitlines()
    begin, end = f"{cluster}::", "::health_flags::healthy"
    return {line[len(begin) : -len(end)] for line in lines if line.startswith(begin) and line.endswith(end)}
