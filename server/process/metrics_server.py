"""A process's figures over HTTP, for Prometheus."""

from __future__ import annotations

import asyncio
import errno

import structlog
from prometheus_client import start_http_server

from ..errors import ConfigError

__all__ = ["address", "serve_metrics"]

log = structlog.get_logger(__name__)

_TRY_AGAIN = 1.0


def address(listen: str) -> tuple[str, int]:
    """Return host and port of `host:port`.

    Raises:
        ConfigError: it is none.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004 - TCP's largest
        raise ConfigError(f"dispatch.metrics: must be host:port, found {listen}")
    return host, int(port)


async def serve_metrics(listen: str) -> None:
    """Serve the figures at `host:port` until cancelled.

    While a dispatcher is renewed the old one still has the port: so a taken one is tried again.

    Raises:
        ConfigError: the address is none, or not one of this machine.
    """
    host, port = address(listen)
    told = False
    while True:
        try:
            server, _thread = start_http_server(port, host)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise ConfigError(f"dispatch.metrics: cannot listen at {listen}: {error.strerror}") from error
            if not told:
                log.warning("metrics wait for their port", listen=listen, error=error.strerror)
            told = True
            await asyncio.sleep(_TRY_AGAIN)
        else:
            break
    try:
        await asyncio.Event().wait()
    finally:
        server.shutdown()
        server.server_close()
