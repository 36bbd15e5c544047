"""The guard of the admin API: authenticates callers, checks roles, and limits number and time of calls."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from itertools import starmap
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from ..api.call import CALLER
from ..api.deadline import Deadline
from ..api.guard import GuardedCall, read_headers, time_left
from ..api.metrics import MethodMetrics
from ..api.rejection import Context, MethodHandler, decode, reject
from ..api.status import code_of
from ..domain.network import network_of
from ..domain.operator import ANONYMOUS, Role
from ..errors import BodyTooLarge
from ..intake.rest_message import QUERY
from .call import AdminCall, is_open, required_role
from .call_limit import CallLimit
from .credentials import Credentials
from .errors import RoleMissing
from .services import DESCRIPTORS, SERVICES, Backend

__all__ = ["AdminGuard", "admin_guards"]

_REQUEST_ID = "x-request-id"
_HEADERS = frozenset({"authorization", "traceparent", "last-event-id", _REQUEST_ID, CALLER, QUERY})
_CALLS, _STREAMS = (48, 16), (100, 25)
"""Of all callers, and of one admin key or person, so that one cannot keep out the others."""
_MAX_BYTES = 1024 * 1024
"""As in gateway/config/per_route.py. One locale of a campaign may have two templates of 256 Ki characters."""
_OPEN_CALLS = (16, 4)
"""Concurrent calls without credentials, of all callers and of one address. They cannot block operators."""


@dataclass(frozen=True, slots=True)
class _Method:
    handler: MethodHandler
    role: Role | None
    is_open: bool
    metrics: MethodMetrics


class AdminGuard(grpc.GenericRpcHandler):
    """Guards the services of the admin API.

    Like `api.guard.Guard`, it collects the handlers that generated code registers. It has its own limits, so
    that operators and callers of the trigger API cannot block each other.

    Args:
        services: The services, whose options state the roles.
        credentials: Authenticates callers.
        deadline: Seconds that a call may take, except streams.
    """

    def __init__(
        self, services: Mapping[str, ServiceDescriptor], credentials: Credentials, *, deadline: float
    ) -> None:
        self._services = services
        self._credentials = credentials
        self._deadline = deadline
        self._calls, self._open_calls, self._streams = starmap(CallLimit, (_CALLS, _OPEN_CALLS, _STREAMS))
        self._methods: dict[str, _Method] = {}

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Do nothing: generated code also passes the same handlers by name."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, MethodHandler]) -> None:
        """Guard the methods of a service."""
        described = self._services[service].methods_by_name
        for name, handler in handlers.items():
            method = described[name]
            path = f"/{service}/{name}"
            metrics = MethodMetrics(path, is_stream=handler.response_streaming)
            self._methods[path] = _Method(handler, required_role(method), is_open(method), metrics)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return the handler of a call, or None if the method is not guarded."""
        method = self._methods.get(handler_call_details.method)
        if method is None:
            return None
        serve = self._serve_stream if method.handler.response_streaming else self._serve
        headers = read_headers(handler_call_details.invocation_metadata, _HEADERS)
        return GuardedCall(method.handler, partial(serve, method, headers))

    async def _serve(self, method: _Method, headers: Mapping[str, str], raw: bytes, context: Context) -> Any:
        began = time.perf_counter()
        code = None
        try:
            with Deadline(time_left(context, self._deadline)):
                # First, so that only authenticated callers use up the limit.
                call = await self._call(method, headers)
                limit = self._open_calls if method.is_open else self._calls
                with limit.counted(network_of(call.address) if method.is_open else call.actor.owner):
                    serve: Any = method.handler.unary_unary
                    answer = await serve(_decoded(method, raw, headers), call)
            code = 0
            return answer
        except Exception as error:
            code = code_of(error)
            await reject(error, context)
        finally:
            method.metrics.ended(code, began)

    async def _serve_stream(
        self, method: _Method, headers: Mapping[str, str], raw: bytes, context: Context
    ) -> None:
        """Serve a method that returns a stream. It has no deadline except the caller's."""
        began = time.perf_counter()
        code = None
        try:
            call = await self._call(method, headers)
            with self._streams.counted(call.actor.owner):
                serve: Any = method.handler.unary_stream
                async with aclosing(serve(_decoded(method, raw, headers), call)) as messages:
                    async for message in messages:
                        await context.write(message)
            code = 0
        except Exception as error:
            code = code_of(error)
            await reject(error, context)
        finally:
            method.metrics.ended(code, began)

    async def _call(self, method: _Method, headers: Mapping[str, str]) -> AdminCall:
        given = headers.get("authorization")
        actor = ANONYMOUS if method.is_open else await self._credentials.actor(given)
        if method.role and not actor.may_somewhere(method.role):
            raise RoleMissing(
                f"This call needs the role {method.role}.", metadata={"role": method.role.value}
            )
        request_id = headers.get(_REQUEST_ID) or str(uuid.uuid4())
        return AdminCall(actor, method.role, headers.get(CALLER, "unknown"), request_id, headers)


def admin_guards(backend: Backend, *, deadline: float) -> Mapping[str, grpc.GenericRpcHandler]:
    """Return the admin API's only guard under the full name of each service.

    Args:
        backend: What the services work with.
        deadline: Seconds that a call may take, except streams.
    """
    guard = AdminGuard(DESCRIPTORS, Credentials(backend.pool), deadline=deadline)
    for service in SERVICES.values():
        service.add(service.build(backend), guard)
    return dict.fromkeys(DESCRIPTORS, guard)


def _decoded(method: _Method, raw: bytes, headers: Mapping[str, str]) -> Any:
    if len(raw) > _MAX_BYTES:
        raise BodyTooLarge(f"The message has {len(raw)} bytes; at most {_MAX_BYTES} are allowed.")
    return decode(method.handler, raw, headers)
