"""Serves a process's metrics over HTTP, for Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import http
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.exposition import ThreadingWSGIServer

from ..errors import ConfigError
from ..metrics import REGISTRY, describe_process

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

__all__ = ["MAX_PORT", "address", "metrics_served"]

log = structlog.get_logger(__name__)

MAX_PORT = 65535
_RETRY_SECONDS = 1.0
_REQUEST_SECONDS = 10.0
"""How long a client may take to send a request, or to accept a part of the response."""
_PATH = "/metrics"
_IN_USE = (
    "metrics are not served, because another process uses the port; stop it, or change the setting. "
    "Trying again every second"
)

More = Callable[[], bytes]
"""Returns further metrics in Prometheus's text format. Called in a thread for each scrape."""


def address(listen: str, setting: str) -> tuple[str, int]:
    """Parse `host:port`.

    Args:
        listen: The text.
        setting: The setting that it is from, for the error.

    Raises:
        ConfigError: the text is not `host:port`.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= MAX_PORT:
        raise ConfigError(f"{setting}: {listen!r} must be host:port, such as 127.0.0.1:9464")
    return host.strip("[]"), int(port)


@asynccontextmanager
async def metrics_served(
    role: str, listen: str, setting: str, more: More | None = None
) -> AsyncIterator[None]:
    """Serve the metrics at `http://host:port/metrics` during the block.

    If the port is in use, the process continues without metrics and tries again every second: messages matter
    more, and during a restart the old process still uses the port.

    Args:
        role: The process's role.
        listen: `host:port`, or an empty string to serve no metrics.
        setting: The setting that `listen` is from, for errors.
        more: Returns metrics of another program to add.

    Raises:
        ConfigError: the address is invalid or does not belong to this machine.
    """
    describe_process(role)
    if not listen:
        yield
        return
    host, port = address(listen, setting)
    server = _Server(host, port, more)
    try:
        server.start()
        retrying = None
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise ConfigError(f"{setting}: cannot listen on {listen}: {error.strerror}") from error
        log.warning(_IN_USE, setting=setting, listen=listen)
        retrying = asyncio.create_task(_retry(server, listen))
    try:
        yield
    finally:
        if retrying:
            retrying.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await retrying
        server.stop()


async def _retry(server: _Server, listen: str) -> None:
    while True:
        await asyncio.sleep(_RETRY_SECONDS)
        with contextlib.suppress(OSError):
            server.start()
            log.info("metrics are served", listen=listen)
            return


class _Handler(WSGIRequestHandler):
    """Handles a request without logging it."""

    timeout = _REQUEST_SECONDS

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Log nothing."""


class _Server:
    """The HTTP server, in its own thread.

    Args:
        host: Where it listens.
        port: Where it listens.
        more: Returns metrics of another program to add.
    """

    def __init__(self, host: str, port: int, more: More | None) -> None:
        self._host, self._port = host, port
        self._more = more
        self._server: WSGIServer | None = None

    def start(self) -> None:
        """Listen.

        Raises:
            OSError: The address cannot be used.
        """
        family = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)[0][0]
        kind = type("MetricsServer", (ThreadingWSGIServer,), {"address_family": family})
        self._server = make_server(self._host, self._port, self._answer, kind, _Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Stop listening."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()

    def _answer(self, request: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        status, body = http.HTTPStatus.NOT_FOUND, f"The metrics are at {_PATH}.\n".encode()
        if request["PATH_INFO"] == _PATH:
            more = self._more() if self._more else b""  # first, because it may set metrics
            status, body = http.HTTPStatus.OK, generate_latest(REGISTRY) + more
        headers = [("Content-Type", CONTENT_TYPE_PLAIN_0_0_4), ("Content-Length", str(len(body)))]
        start(f"{status.value} {status.phrase}", headers)
        return [body]
