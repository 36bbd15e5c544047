"""Clients of the admin API with the same methods: one calls a gateway, one serves the calls itself.

So a command works with an admin key from any machine, and without one where it has access to the database.
"""

from __future__ import annotations

import getpass
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from ..domain.operator import COMMAND_LINE, Actor, ActorKind, Role
from ..errors import ClarionError, InvalidRequest, RequestError, Violation
from .call import AdminCall, required_role
from .services import SERVICES, Backend

__all__ = ["AdminClient", "LocalAdmin", "RemoteAdmin", "command_line_call"]

_ADDRESS = "command line"
_SECONDS = 60.0


class AdminClient(Protocol):
    """Calls methods of the admin API: `await client.call("projects", "GetProject", request)`."""

    is_local: bool
    """Whether calls stay in this process, where the gateway's limits do not apply."""

    async def call(self, service: str, method: str, request: Any) -> Any:
        """Call a method and return its response.

        Raises:
            ClarionError: The call failed; the message says why.
        """


def command_line_call(role: Role | None) -> AdminCall:
    """Return the context of a call by someone who runs a command with access to the database."""
    actor = Actor(ActorKind.COMMAND_LINE, _user(), COMMAND_LINE)
    return AdminCall(actor, role, _ADDRESS, str(uuid.uuid4()))


class LocalAdmin:
    """Serves the calls in this process, for someone with access to the database.

    Args:
        backend: What the services work with.
    """

    is_local = True

    def __init__(self, backend: Backend) -> None:
        self._servicers = {name: service.build(backend) for name, service in SERVICES.items()}

    async def call(self, service: str, method: str, request: Any) -> Any:
        """Serve a call; see `AdminClient.call`."""
        described = SERVICES[service].descriptor.methods_by_name[method]
        call = command_line_call(required_role(described))
        serve: Callable[..., Awaitable[Any]] = getattr(self._servicers[service], method)
        return await serve(request, call)


class RemoteAdmin:
    """Calls a gateway.

    Args:
        channel: A channel to the gateway.
        secret: An admin key.
    """

    is_local = False

    def __init__(self, channel: grpc.aio.Channel, secret: str) -> None:
        self._stubs = {name: service.stub(channel) for name, service in SERVICES.items()}
        self._metadata = (("authorization", f"Bearer {secret}"),)

    async def call(self, service: str, method: str, request: Any) -> Any:
        """Call the gateway; see `AdminClient.call`."""
        send = getattr(self._stubs[service], method)
        with _converted():
            return await send(request, metadata=self._metadata, timeout=_SECONDS)


@contextmanager
def _converted() -> Iterator[None]:
    """Convert errors of gRPC to those that a local call raises."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        call: Any = error  # the type stub does not know the errors of grpc.aio
        status = rpc_status.from_call(call)
        info, invalid = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        known = [
            detail.Unpack(info) or detail.Unpack(invalid) for detail in (status.details if status else ())
        ]
        violations = [Violation(one.field, one.description, one.reason) for one in invalid.field_violations]
        if violations:
            raise InvalidRequest(violations) from error
        if any(known):
            converted = RequestError(error.details() or "", metadata=dict(info.metadata))
            converted.reason = info.reason
            raise converted from error
        raise ClarionError(f"the gateway cannot be called: {error.details()}") from error


def _user() -> str:
    """Return the name of the user who runs the command."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
