"""Checks whether the gateway accepts calls, and whether its port is free."""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
from pathlib import Path

from ..config.cluster import NAME as CLUSTER
from ..config.filters import HEALTH_PATH
from ..errors import GatewayError
from ..settings import GatewaySettings, Upstream
from . import admin
from .process import Envoy

__all__ = ["check_port", "until_ready", "wait_ready", "wait_upstream"]

READY_SECONDS = 60.0
"""Longer than a start takes on a busy machine: an Envoy that cannot start ends instead."""
POLL_SECONDS = 0.05


async def wait_ready(settings: GatewaySettings, timeout: float = READY_SECONDS, *, epoch: int = 0) -> None:  # noqa: ASYNC109
    """Wait until the gateway accepts calls, whether or not a server behind it does.

    With an admin socket, wait for the Envoy of this restart epoch.

    Raises:
        GatewayError: the gateway was not ready within `timeout` seconds.
    """
    try:
        async with asyncio.timeout(timeout):
            while not await _is_ready(settings, epoch):  # noqa: ASYNC110  # Envoy sends no event
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        where = f"{settings.host}:{settings.port}"
        raise GatewayError(f"the gateway on {where} was not ready within {timeout:g} s") from None


async def wait_upstream(admin_socket: Path, upstream: str) -> None:
    """Wait until the gateway sends calls to a server, named as in `GatewaySettings.upstreams`."""
    parsed = Upstream.parse(upstream)
    name = str(parsed.path) if parsed.path else f"{parsed.host}:{parsed.port}"
    while not await _is_used(admin_socket, name):  # noqa: ASYNC110  # Envoy sends no event
        await asyncio.sleep(POLL_SECONDS)


async def _is_used(admin_socket: Path, name: str) -> bool:
    try:
        return name in await admin.healthy_upstreams(admin_socket, CLUSTER)
    except admin.AdminError:  # Envoy has not started yet
        return False


async def _is_ready(settings: GatewaySettings, epoch: int) -> bool:
    if settings.admin_path:
        return await admin.is_ready(settings.admin_path, epoch)
    return await asyncio.to_thread(_answers, settings)


def _answers(settings: GatewaySettings) -> bool:
    """Return whether a gateway answers on the port: 200, or 503 while no server is healthy."""
    connection = _connection(settings)
    try:
        connection.request("GET", HEALTH_PATH)
        return connection.getresponse().headers.get("server") == "clarion"
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _connection(settings: GatewaySettings) -> http.client.HTTPConnection:
    if not settings.tls_certificate:
        return http.client.HTTPConnection(settings.host, settings.port, timeout=1)
    # We connect by IP address, which the certificate need not name.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(settings.host, settings.port, timeout=1, context=context)


async def until_ready(envoy: Envoy, settings: GatewaySettings, epoch: int) -> None:
    """Wait until an Envoy is ready.

    Raises:
        GatewayError: it ended or took too long; the message includes its last lines.
    """
    ready = asyncio.create_task(wait_ready(settings, epoch=epoch))
    ended = asyncio.create_task(envoy.wait())
    try:
        await asyncio.wait({ready, ended}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            raise GatewayError(f"Envoy ended with exit code {ended.result()}:\n{envoy.last_lines}")
        if error := ready.exception():
            raise GatewayError(f"{error}:\n{envoy.last_lines}") from error
    finally:
        ready.cancel()
        ended.cancel()


def check_port(settings: GatewaySettings) -> None:
    """Check that the gateway can listen on its port. Envoy's own message has many lines.

    Raises:
        GatewayError: it cannot, for example because another process listens there.
    """
    host, port = settings.host, settings.port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As Envoy does: a port in TIME_WAIT is free, one with a listener is not.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise GatewayError(
            f"gateway.port: cannot listen on {host}:{port}: {error.strerror}; "
            "set CLARION_GATEWAY_PORT to another port, or stop the process that uses it"
        ) from None
