"""The client of the admin API.

It calls the servers directly, as the gateway does, and not through the gateway. So the audit log gets the
browser's address, a stranger who tries admin keys in the portal is not counted against the portal's own
address, and no certificate of the gateway has to be trusted.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
from google.api import annotations_pb2
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from clarion.admin.v1 import options_pb2

from .errors import ServersUnreachable, api_error

__all__ = ["AdminApi", "Caller", "Credentials", "is_write", "method_of", "required_role"]

CALLER = "x-clarion-caller"
"""The header from which servers take the caller's address; the gateway sets it (server/api/call.py)."""
REQUEST_ID = "x-request-id"
_UNIX = "unix:"
_HTTP: Any = annotations_pb2.http
_REQUIRED_ROLE: Any = options_pb2.required_role  # its .pyi file predates typed extensions
_CONNECT_SECONDS = 3.0
_CALL_SECONDS = 15.0
_READS = ("Get", "List", "Search", "Count", "Watch", "Preview", "Render", "Compare", "Check", "Export")
"""Names of methods that change nothing, whatever their HTTP method."""
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.enable_http_proxy", 0),
)


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of the API, on whose behalf the portal calls.

    Attributes:
        secret: A session's token, an admin key or an API key.
        address: The browser's address.
        request_id: The ID of the browser's request.
        idempotency_key: Makes a call of the trigger API safe to repeat; empty for none.
    """

    secret: str
    address: str
    request_id: str
    idempotency_key: str = ""

    def __repr__(self) -> str:
        """Leave out the secret."""
        return f"Caller(address={self.address!r}, request_id={self.request_id!r})"

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The headers of a call."""
        found = (
            ("authorization", f"Bearer {self.secret}"),
            (CALLER, self.address),
            (REQUEST_ID, self.request_id),
        )
        return (*found, ("idempotency-key", self.idempotency_key)) if self.idempotency_key else found


class Credentials(Protocol):
    """The portal's certificate for servers, which is renewed from time to time."""

    def current(self) -> grpc.ChannelCredentials:
        """Return the credentials of new connections, the same object until they change."""


class AdminApi:
    """Calls the first server that can be reached.

    Args:
        servers: Their addresses, the preferred first.
        credentials: The certificate for addresses that are not Unix sockets; None for plain connections.
        tls_name: The name in the servers' certificates; empty: their host.
    """

    def __init__(
        self, servers: Iterable[str], credentials: Credentials | None = None, tls_name: str = ""
    ) -> None:
        self._servers = list(servers)
        self._credentials = credentials
        self._tls_options = (("grpc.ssl_target_name_override", tls_name),) if tls_name else ()
        self._used = credentials.current() if credentials else None
        self._channels = self._open()
        self._closing: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Close the connections."""
        for channel in self._channels:
            await channel.close()

    def _open(self) -> list[grpc.aio.Channel]:
        return [
            grpc.aio.insecure_channel(one, options=_OPTIONS)
            if self._used is None or one.startswith(_UNIX)
            else grpc.aio.secure_channel(one, self._used, options=(*_OPTIONS, *self._tls_options))
            for one in self._servers
        ]

    def _renew(self) -> None:
        """Connect again if the certificate has changed. Calls in progress may finish."""
        if self._credentials is None or (newest := self._credentials.current()) is self._used:
            return
        self._used = newest
        old, self._channels = self._channels, self._open()
        for channel in old:
            task = asyncio.create_task(channel.close(_CALL_SECONDS))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def call(self, request: Message, caller: Caller) -> Any:
        """Call the method that takes this request and return its response.

        A method that only reads is called once more if its server went away.

        Raises:
            ApiError: The call failed.
        """
        method = method_of(request.DESCRIPTOR)
        try:
            return await self._call_once(method, request, caller)
        except ServersUnreachable:
            if is_write(request):  # it may have taken effect
                raise
            return await self._call_once(method, request, caller)

    async def stream(self, request: Message, caller: Caller) -> AsyncIterator[Any]:
        """Yield the messages of the stream that takes this request.

        Raises:
            ApiError: The stream failed.
        """
        method = method_of(request.DESCRIPTOR)
        channel = await self._reachable()
        call = channel.unary_stream(_path(method), _serialize, _response_class(method).FromString)
        messages = call(request, metadata=caller.metadata)
        try:
            async for message in messages:
                yield message
        except grpc.aio.AioRpcError as error:
            raise api_error(error) from error
        finally:
            messages.cancel()

    async def _call_once(self, method: MethodDescriptor, request: Message, caller: Caller) -> Any:
        channel = await self._reachable()
        call = channel.unary_unary(_path(method), _serialize, _response_class(method).FromString)
        try:
            return await call(request, metadata=caller.metadata, timeout=_CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            converted = api_error(error)
            # Try the others first from now on.
            if isinstance(converted, ServersUnreachable) and channel in self._channels:
                self._channels.remove(channel)
                self._channels.append(channel)
            raise converted from error

    async def _reachable(self) -> grpc.aio.Channel:
        """Return a channel with a connection.

        Raises:
            ServersUnreachable: No server accepts one in time.
        """
        self._renew()
        for channel in self._channels:
            if channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY:
                return channel
        tasks = {asyncio.ensure_future(channel.channel_ready()): channel for channel in self._channels}
        try:
            done, _ = await asyncio.wait(tasks, timeout=_CONNECT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        for task in done:
            return tasks[task]
        raise ServersUnreachable


@functools.cache
def method_of(request: Any) -> MethodDescriptor:
    """Return the method that takes a request, by its descriptor; each has its own type (https://google.aip.dev/131)."""
    services: Mapping[str, Any] = request.file.services_by_name
    for service in services.values():
        for method in service.methods:
            if method.input_type is request:
                found: MethodDescriptor = method
                return found
    raise LookupError(f"no method takes {request.full_name}")


def required_role(request: Message | type[Message]) -> str:
    """Return the role that a request needs; empty if it needs only a session."""
    role: str = method_of(request.DESCRIPTOR).GetOptions().Extensions[_REQUIRED_ROLE]
    return role


def is_write(request: Message | type[Message]) -> bool:
    """Return whether a request changes something."""
    method = method_of(request.DESCRIPTOR)
    reads = method.GetOptions().Extensions[_HTTP].WhichOneof("pattern") == "get"
    return not reads and not method.name.startswith(_READS)


def _path(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def _response_class(method: MethodDescriptor) -> Any:
    return GetMessageClass(method.output_type)


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()
