"""Asks Envoy's admin interface, which listens on a Unix socket only."""

from __future__ import annotations

import asyncio
import http.client
import socket
from pathlib import Path

__all__ = ["active_requests", "is_ready", "start_draining"]

SECONDS = 2.0
"""The longest wait for an answer."""
ACTIVE = "http.ingress.downstream_rq_active"


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("admin", timeout=SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket's path."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(SECONDS)
        self.sock.connect(str(self._path))


def _ask(socket_path: Path, method: str, target: str) -> tuple[int, str]:
    connection = _UnixConnection(socket_path)
    try:
        connection.request(method, target)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


async def is_ready(socket_path: Path) -> bool:
    """Return whether Envoy has started and listens."""
    try:
        status, _ = await asyncio.to_thread(_ask, socket_path, "GET", "/ready")
    except (OSError, http.client.HTTPException):
        return False
    return status == http.HTTPStatus.OK


async def start_draining(socket_path: Path) -> None:
    """Make /healthz fail and ask callers to leave. Calls in flight go on.

    Raises:
        OSError, http.client.HTTPException: the interface does not answer.
    """
    for target in ("/healthcheck/fail", "/drain_listeners?graceful&skip_exit"):
        await asyncio.to_thread(_ask, socket_path, "POST", target)


async def active_requests(socket_path: Path) -> int:
    """Return how many calls are in flight.

    Raises:
        OSError, http.client.HTTPException, ValueError: the interface gives no number.
    """
    _, text = await asyncio.to_thread(_ask, socket_path, "GET", f"/stats?filter=^{ACTIVE}$")
    return int(text.rpartition(":")[2])
