"""Asks from outside whether the gateway takes calls, and whether its port is free."""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
from pathlib import Path

from ..config.cluster import NAME as CLUSTER
from ..config.filters import HEALTH_PATH
from ..errors import GatewayError
from ..options import GatewayOptions, Upstream
from . import admin
from .process import Envoy

__all__ = ["address", "refuse_taken_port", "until_ready", "wait_ready", "wait_upstream"]

READY_SECONDS = 10.0
POLL_SECONDS = 0.05


async def wait_ready(options: GatewayOptions, timeout: float = READY_SECONDS, *, epoch: int = 0) -> None:  # noqa: ASYNC109
    """Wait until the gateway takes calls; whether a server answers behind it is /healthz's affair.

    With an admin socket, it is the Envoy of this restart epoch that is waited for.

    Raises:
        GatewayError: it did not within `timeout` seconds.
    """
    try:
        async with asyncio.timeout(timeout):
            while not await _is_ready(options, epoch):  # noqa: ASYNC110  # Envoy can only be asked
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        where = f"{options.listen_host}:{options.listen_port}"
        raise GatewayError(f"the gateway on {where} was not ready within {timeout:g} s") from None


async def wait_upstream(admin_socket: Path, upstream: str) -> None:
    """Wait until the gateway sends calls to this server, given as in `GatewayOptions.upstreams`."""
    wanted = Upstream.parse(upstream)
    name = str(wanted.path) if wanted.path else f"{wanted.host}:{wanted.port}"
    while not await _is_used(admin_socket, name):  # noqa: ASYNC110  # Envoy can only be asked
        await asyncio.sleep(POLL_SECONDS)


async def _is_used(admin_socket: Path, name: str) -> bool:
    try:
        return name in await admin.healthy_upstreams(admin_socket, CLUSTER)
    except admin.AdminError:  # it has not started yet
        return False


async def _is_ready(options: GatewayOptions, epoch: int) -> bool:
    if options.admin_socket is not None:
        return await admin.is_ready(options.admin_socket, epoch)
    return await asyncio.to_thread(_answers, options)


def _answers(options: GatewayOptions) -> bool:
    """Return whether the port speaks our HTTP: with 200, or 503 while no server is healthy."""
    connection = _connection(options)
    try:
        connection.request("GET", HEALTH_PATH)
        return connection.getresponse().headers.get("server") == "clarion"
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _connection(options: GatewayOptions) -> http.client.HTTPConnection:
    if options.tls_certificate is None:
        return http.client.HTTPConnection(options.listen_host, options.listen_port, timeout=1)
    # We ask by address whether anyone is there; whom the certificate names is the callers' affair.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(options.listen_host, options.listen_port, timeout=1, context=context)


async def until_ready(envoy: Envoy, options: GatewayOptions, epoch: int) -> None:
    """Wait until Envoy is ready.

    Raises:
        GatewayError: it has ended, or takes too long; the message ends with Envoy's last words.
    """
    ready = asyncio.create_task(wait_ready(options, epoch=epoch))
    ended = asyncio.create_task(envoy.wait())
    try:
        await asyncio.wait({ready, ended}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            raise GatewayError(f"Envoy ended with exit code {ended.result()}:\n{envoy.last_words}")
        if error := ready.exception():
            raise GatewayError(f"{error}:\n{envoy.last_words}") from error
    finally:
        ready.cancel()
        ended.cancel()


def address(options: GatewayOptions) -> tuple[str, int]:
    """Return where the gateway listens."""
    return options.listen_host, options.listen_port


def refuse_taken_port(options: GatewayOptions) -> None:
    """Say in one line that the port is taken. Envoy would say so too, in many.

    SO_REUSEADDR, as Envoy sets it: ports of closed connections are free, ports listened on are not.
    """
    family = socket.AF_INET6 if ":" in options.listen_host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address(options))
        except OSError as error:
            where = f"{options.listen_host}:{options.listen_port}"
            raise GatewayError(f"the gateway cannot listen on {where}: {error.strerror}") from None
