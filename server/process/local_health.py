"""Checks the processes of Clarion that listen on this machine, each by its own address in the settings."""

from __future__ import annotations

import asyncio
import errno
import http.client
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import ServerSettings, Settings

if TYPE_CHECKING:
    import grpc

__all__ = ["PROCESSES", "check_local"]

_TIMEOUT = 3.0
"""Seconds for one check: less than a container engine's or an orchestrator's own limit."""
_UNIX = "unix:"
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - listens on all; called on one
_ABSENT = (errno.ECONNREFUSED, errno.ENOENT)
_SERVER_ERROR = 500
_READY = "clarion.v1.TriggerService"

Check = Callable[[str], Awaitable[str]]


async def check_local(settings: Settings, only: str | None = None) -> Mapping[str, str]:
    """Return what is wrong with each process that listens, by its name; an empty text if it is ready.

    Args:
        settings: the settings, with the addresses at which the processes listen.
        only: the name of one process, which must listen.
    """
    found = {}
    for name, check in _checks(settings).items():
        listen = PROCESSES[name](settings)
        if only not in (None, name):
            continue
        problem = await _reach(listen)
        if problem is None:
            problem = await _bounded(check(listen))
        if problem != _NOTHING_LISTENS or only:
            found[name] = problem
    return found


_NOTHING_LISTENS = "nothing listens"


def _gateway_address(settings: Settings) -> str:
    return f"{settings.gateway.host}:{settings.gateway.port}"


PROCESSES: Mapping[str, Callable[[Settings], str]] = {
    "server": lambda settings: settings.server.listen,
    "dispatcher": lambda settings: settings.dispatch.metrics,
    "gateway": _gateway_address,
    "portal": lambda settings: settings.portal.listen,
}
"""Where each process listens."""


def _checks(settings: Settings) -> Mapping[str, Check]:
    tls = bool(settings.gateway.tls_certificate)
    return {
        "server": partial(_serving, settings.server),
        "dispatcher": partial(_answers, "/metrics"),
        "gateway": partial(_answers, "/readyz", tls=tls),
        "portal": partial(_answers, settings.portal.base_path),
    }


async def _bounded(check: Awaitable[str]) -> str:
    try:
        async with asyncio.timeout(_TIMEOUT):
            return await check
    except TimeoutError:
        return f"no answer within {_TIMEOUT:g} s"


async def _reach(listen: str) -> str | None:
    """Return why nothing can be connected to an address, or None if something listens there."""
    if not listen:
        return _NOTHING_LISTENS
    try:
        (await asyncio.to_thread(_connect, listen)).close()
    except OSError as error:
        return _NOTHING_LISTENS if error.errno in _ABSENT else f"cannot connect: {error.strerror or error}"
    return None


def _connect(listen: str) -> socket.socket:
    if listen.startswith(_UNIX):
        opened = socket.socket(socket.AF_UNIX)
        opened.settimeout(_TIMEOUT)
        opened.connect(listen.removeprefix(_UNIX))
        return opened
    return socket.create_connection(_host_and_port(listen), timeout=_TIMEOUT)


def _host_and_port(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    return _ANY.get(host, host), int(port)


async def _serving(settings: ServerSettings, listen: str) -> str:
    """Call a server's standard health check (`grpc.health.v1`), by the service that needs its database.

    With TLS, the server's own certificate is also that of this call, and the only one that it trusts.
    """
    import grpc  # noqa: PLC0415 - slow to import; see server/cli.py
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415

    if not listen.startswith(_UNIX):
        host, port = _host_and_port(listen)
        listen = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        opened = _secure(settings, listen) if settings.uses_tls else grpc.aio.insecure_channel(listen)
    except (OSError, ValueError) as error:
        return f"cannot read server.tls_certificate or server.tls_key: {error}"
    async with opened as channel:
        try:
            stub: Any = health_pb2_grpc.HealthStub(channel)  # its type stubs declare no methods
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=_READY), timeout=_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            return f"health check failed with {error.code().name}"
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return "" if answer.status == health_pb2.HealthCheckResponse.SERVING else f"reports {status}"


def _secure(settings: ServerSettings, listen: str) -> grpc.aio.Channel:
    """Return a channel to a server on this machine, whose address its certificate need not name.

    Raises:
        OSError, ValueError: The certificate or its key cannot be read.
    """
    import grpc  # noqa: PLC0415
    from cryptography import x509  # noqa: PLC0415 - slow to import

    chain = Path(settings.tls_certificate).expanduser().read_bytes()
    key = Path(settings.tls_key).expanduser().read_bytes()
    own = x509.load_pem_x509_certificate(chain)
    names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    hosts = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    name = [("grpc.ssl_target_name_override", hosts[0])] if hosts else []
    return grpc.aio.secure_channel(listen, grpc.ssl_channel_credentials(chain, key, chain), options=name)


async def _answers(path: str, listen: str, *, tls: bool = False) -> str:
    status = await asyncio.to_thread(_status, path, listen, tls=tls)
    if isinstance(status, str):
        return status
    return f"{path} is {status}" if status >= _SERVER_ERROR else ""


def _status(path: str, listen: str, *, tls: bool) -> int | str:
    """Return the status of a GET, or why there is none."""
    connection = http.client.HTTPConnection("localhost", timeout=_TIMEOUT)
    try:
        opened = _connect(listen)
        connection.sock = _unverified().wrap_socket(opened) if tls else opened
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{path} gave no answer: {error}"
    finally:
        connection.close()


def _unverified() -> ssl.SSLContext:
    """Return a context for a connection within this machine, whose address a certificate need not name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
