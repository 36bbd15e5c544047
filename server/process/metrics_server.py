"""Serves a process's metrics over HTTP, for Prometheus."""

from __future__ import annotations

import asyncio
import errno

import structlog
from prometheus_client import start_http_server

from ..errors import ConfigError

__all__ = ["address", "serve_metrics"]

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 1.0


def address(listen: str) -> tuple[str, int]:
    """Parse `host:port`.

    Raises:
        ConfigError: the text is not `host:port`.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004 - TCP's largest
        raise ConfigError(f"dispatch.metrics: {listen!r} must be host:port, such as 127.0.0.1:9464")
    return host, int(port)


async def serve_metrics(listen: str) -> None:
    """Serve the metrics at `host:port` until cancelled.

    If the port is taken, try again: during a restart the old dispatcher still uses it.

    Raises:
        ConfigError: the address is invalid or does not belong to this machine.
    """
    host, port = address(listen)
    logged = False
    while True:
        try:
            server, _thread = start_http_server(port, host)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise ConfigError(f"dispatch.metrics: cannot listen at {listen}: {error.strerror}") from error
            if not logged:
                log.warning("metrics port is taken, retrying", listen=listen, error=error.strerror)
            logged = True
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            break
    try:
        await asyncio.Event().wait()
    finally:
        server.shutdown()
        server.server_close()
