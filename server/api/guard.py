"""The guard, which every call of the API passes through.

It authenticates the caller, applies the limits on rate, concurrency, size and time, decodes the request, and
turns every exception into a gRPC status.
"""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
import structlog

from ..domain.certificate import identities_in
from ..domain.key import ApiKey, Scope, hash_secret, secret_from_header
from ..domain.limit import RateLimiter
from ..domain.ports import Catalog
from ..domain.trace import trace_context
from ..errors import (
    BodyTooLarge,
    CredentialsInvalid,
    CredentialsMissing,
    Overloaded,
    ScopeMissing,
)
from ..tracing import call_span, context_of, failed, is_on, may_record
from .access_log import RejectedKeys
from .call import CALLER, CERTIFICATE, READ_HEADERS, TRACEPARENT, Call
from .deadline import Deadline
from .metrics import MethodMetrics
from .rate_limit import take_tokens
from .rejection import Context, MethodHandler, decode, reject
from .status import FAULTS, code_of, status_name

__all__ = ["MAX_BATCH_BYTES", "MAX_MESSAGE_BYTES", "Guard", "GuardedCall", "read_headers", "time_left"]

log = structlog.get_logger(__name__)

MAX_MESSAGE_BYTES = 256 * 1024
"""Maximum size of a request that is not a batch."""
MAX_BATCH_BYTES = 2 * 1024 * 1024 + 1024
"""Maximum size of a batch: the 2 MiB that the gateway accepts over REST, and the overhead of `HttpBody`."""
"""The message of an internal error."""
_CERTIFICATE_UNKNOWN = (
    "The certificate belongs to no API key that works; ask an operator to attach it to a key, or send "
    "`Authorization: Bearer sk_…`."
)
_BATCH = "Batch"  # prefix of batch methods: https://google.aip.dev/231


@dataclass(frozen=True, slots=True)
class _Method:
    """A guarded method of a service."""

    name: str
    """Its full name, such as `clarion.v1.TriggerService/TriggerEmail`."""
    handler: MethodHandler
    scope: Scope
    max_bytes: int
    metrics: MethodMetrics

    def decode(self, raw: bytes, headers: Mapping[str, str]) -> Any:
        """Return the request.

        Raises:
            BodyTooLarge: It has more than `max_bytes`.
            InvalidRequest: It is not the protobuf message that the method accepts.
        """
        if len(raw) > self.max_bytes:
            raise BodyTooLarge(f"The message has {len(raw)} bytes; at most {self.max_bytes} are allowed.")
        return decode(self.handler, raw, headers)


class GuardedCall:
    """The handler of one call, which knows the call's headers. It has the interface of RpcMethodHandler.

    A guard creates one for each call, because gRPC passes it the headers. Reading them from the
    context of the call would be slower: gRPC would build them again.
    """

    __slots__ = ("response_serializer", "response_streaming", "unary_stream", "unary_unary")

    request_streaming = False
    request_deserializer = None  # the guard decodes, so that it can report an invalid message
    stream_unary = stream_stream = None

    def __init__(self, handler: MethodHandler, serving: Callable[..., Awaitable[Any]]) -> None:
        """Create the handler of a call.

        Args:
            handler: The handler that generated code registered.
            serving: Serves the call. It receives the request's bytes and the context.
        """
        self.response_serializer = handler.response_serializer
        self.response_streaming = handler.response_streaming
        self.unary_unary = None if self.response_streaming else serving
        self.unary_stream = serving if self.response_streaming else None


class Guard(grpc.GenericRpcHandler):
    """Guards the services in `scopes`. Health and reflection are added to the server directly, without it.

    The generated `add_…Servicer_to_server` functions treat it as a server, and so pass it the handlers to
    guard. A grpc.aio interceptor could do the same, but takes a fifth of the CPU time of an empty call
    (77,000 of 354,000 instructions, counted with callgrind).
    """

    def __init__(
        self,
        catalog: Catalog,
        scopes: Mapping[str, Scope],
        *,
        deadline: float,
        limits: RateLimiter,
        max_concurrent: int,
        note_use: Callable[[uuid.UUID], object],
        knows_gateways: bool = False,
    ) -> None:
        """Create a guard without methods.

        Args:
            catalog: Looks up API keys and the limits of projects.
            scopes: The scope that each service requires, by full name such as `clarion.v1.TriggerService`.
            deadline: Seconds that a call may take.
            limits: The rate limits of keys and projects.
            max_concurrent: Maximum number of concurrent calls, not counting streams.
            note_use: Called with the ID of the key of each call that is accepted.
            knows_gateways: Whether only gateways can connect. Otherwise anyone could name a certificate.
        """
        self._read = READ_HEADERS | {CERTIFICATE} if knows_gateways else READ_HEADERS
        self._catalog = catalog
        self._scopes = scopes
        self._deadline = deadline
        self._limits = limits
        self._max_concurrent = max_concurrent
        self._note_use = note_use
        self._in_flight = 0
        self._rejected_keys = RejectedKeys()
        self._methods: dict[str, _Method] = {}

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Do nothing: generated code also calls `add_registered_method_handlers` with the same handlers."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, MethodHandler]) -> None:
        """Guard the methods of a service."""
        for name, handler in handlers.items():
            max_bytes = MAX_BATCH_BYTES if name.startswith(_BATCH) else MAX_MESSAGE_BYTES
            path = f"/{service}/{name}"
            metrics = MethodMetrics(path, is_stream=handler.response_streaming)
            self._methods[path] = _Method(path[1:], handler, self._scopes[service], max_bytes, metrics)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return the handler of a call, or None if the method is not guarded."""
        method = self._methods.get(handler_call_details.method)
        if method is None:
            return None
        headers = read_headers(handler_call_details.invocation_metadata, self._read)
        if method.handler.response_streaming:
            return GuardedCall(method.handler, partial(self._serve_stream, method, headers))
        recorded = is_on() and may_record(trace_context(headers.get(TRACEPARENT, "")))
        serve = self._serve_recorded if recorded else self._serve
        return GuardedCall(method.handler, partial(serve, method, headers))

    async def _serve(self, method: _Method, headers: Mapping[str, str], raw: bytes, context: Context) -> Any:
        began = time.perf_counter()
        admitted = False
        code = None
        try:
            call = self._call(method, headers)  # first, so that callers without a key take no place
            admitted = self._in_flight < self._max_concurrent
            if not admitted:
                raise Overloaded
            self._in_flight += 1
            with Deadline(time_left(context, self._deadline)):
                serve: Any = method.handler.unary_unary
                answer = await serve(method.decode(raw, headers), call)
            code = 0
            return answer
        except Exception as error:
            code = code_of(error)
            await reject(error, context)
        finally:
            self._in_flight -= admitted
            method.metrics.ended(code, began)

    async def _serve_recorded(
        self, method: _Method, headers: Mapping[str, str], raw: bytes, context: Context
    ) -> Any:
        """Serve a call, and record its span, whose context the triggers of the call get."""
        with call_span(method.name, trace_context(headers.get(TRACEPARENT, ""))) as span:
            if own := context_of(span):
                headers = {**headers, TRACEPARENT: own}
            name = grpc.StatusCode.CANCELLED.name
            try:
                answer = await self._serve(method, headers, raw, context)
                name = grpc.StatusCode.OK.name
                return answer
            except Exception:
                name = status_name(context.code())
                if name in FAULTS:
                    failed(span, name)
                raise
            finally:
                span.set_attribute("rpc.response.status_code", name)

    async def _serve_stream(
        self, method: _Method, headers: Mapping[str, str], raw: bytes, context: Context
    ) -> None:
        """Serve a method that returns a stream. It has no deadline except the caller's."""
        began = time.perf_counter()
        code = None
        try:
            call = self._call(method, headers)
            serve: Any = method.handler.unary_stream
            async with aclosing(serve(method.decode(raw, headers), call)) as messages:
                async for message in messages:
                    await context.write(message)
            code = 0
        except Exception as error:
            code = code_of(error)
            await reject(error, context)
        finally:
            method.metrics.ended(code, began)

    def _call(self, method: _Method, headers: Mapping[str, str]) -> Call:
        """Authenticate a call, count it toward the rate limits, check the scope, and return its context."""
        working_key = partial(self._working_key, headers)
        key = working_key()
        _, exceeded = take_tokens(self._limits, self._catalog, key)
        if exceeded:
            raise exceeded
        if method.scope not in key.scopes:
            message = f"The API key lacks the scope {method.scope}."
            raise ScopeMissing(message, metadata={"scope": method.scope.value})
        self._note_use(key.id)
        return Call(key, headers, working_key)

    def _working_key(self, headers: Mapping[str, str]) -> ApiKey:
        """Return the key of a call: that of its secret or, without one, that of its certificate."""
        header = headers.get("authorization")
        certificate = headers.get(CERTIFICATE) if header is None else None
        if certificate:
            key = self._catalog.key_of_certificate(identities_in(certificate))
        elif header is None:
            raise CredentialsMissing
        else:
            secret = secret_from_header(header)
            key = self._catalog.key(hash_secret(secret)) if secret else None
        if key is None or not key.works_at(dt.datetime.now(dt.UTC)):
            self._rejected_keys.log(key, headers.get(CALLER), certificate)
            raise CredentialsInvalid(_CERTIFICATE_UNKNOWN) if certificate else CredentialsInvalid
        return key


def time_left(context: Context, deadline: float) -> float:
    """Return the seconds until the caller's deadline, but at most `deadline`."""
    given = context.time_remaining()
    return deadline if given is None else min(given, deadline)


def read_headers(
    metadata: Iterable[tuple[str, str | bytes]] | None, names: Collection[str] = READ_HEADERS
) -> Mapping[str, str]:
    """Return the headers in `names`. Values of repeated headers are joined by commas, as in HTTP."""
    headers: dict[str, str] = {}
    for name, value in metadata or ():
        if name in names:
            text = value if isinstance(value, str) else value.decode("ascii", "replace")
            headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers
