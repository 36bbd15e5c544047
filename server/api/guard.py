"""The guard before every method: decodes, authenticates, bounds the time, and lets no exception out.

Each concern is a function of its own below.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError

from ..domain.key import ApiKey, Scope, hash_secret, secret_from_header
from ..domain.limit import RateLimiter
from ..domain.ports import Catalog
from ..domain.trace import trace_context
from ..errors import (
    BodyTooLarge,
    CredentialsInvalid,
    CredentialsMissing,
    InvalidRequest,
    MethodUnknown,
    Overloaded,
    RequestError,
    ScopeMissing,
    Violation,
)
from ..intake.idempotency_key import HEADER
from .deadline import Deadline
from .rate_limit import take_tokens
from .status import abort

__all__ = [
    "LAST_EVENT_ID",
    "MAX_BATCH_BYTES",
    "MAX_MESSAGE_BYTES",
    "Guard",
    "UnknownMethods",
    "caller",
    "idempotency_header",
    "last_event_id",
    "require_working_key",
    "traceparent",
]

log = structlog.get_logger(__name__)

MAX_MESSAGE_BYTES = 256 * 1024
"""The largest request, but for a batch."""
MAX_BATCH_BYTES = 2 * 1024 * 1024 + 1024
"""The largest batch: as large as the gateway takes them over REST, and what `HttpBody` adds to that. gRPC
itself takes twice as much, so that most of what is refused is told why."""
_BATCH = "Batch"  # so begin the names of methods that take many: https://google.aip.dev/231

_caller: ContextVar[ApiKey] = ContextVar("caller")
# grpcio builds the metadata anew each time it is asked, so what it built to find the handler is kept.
_sent: ContextVar[Mapping[str, str]] = ContextVar("sent")
# Set for streams only: it raises once the key works no more.
_check_key: ContextVar[Callable[[], object]] = ContextVar("check_key")
LAST_EVENT_ID = "last-event-id"
"""The header in which readers of server-sent events say how far they came."""
_WANTED = frozenset({"authorization", "traceparent", HEADER, LAST_EVENT_ID})

MethodHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


def caller() -> ApiKey:
    """Return the key of the call that is being served."""
    return _caller.get()


def traceparent() -> str:
    """Return the W3C trace context of the call that is being served, or nothing if it has none."""
    return trace_context(_sent.get().get("traceparent", ""))


def idempotency_header() -> str | None:
    """Return the header `idempotency-key` of the call that is being served, or None."""
    return _sent.get().get(HEADER)


def last_event_id() -> str:
    """Return the id of the last event that a reader of server-sent events has, or nothing."""
    return _sent.get().get(LAST_EVENT_ID, "")


def require_working_key() -> None:
    """Look again at the key of the stream that is being served.

    Raises:
        CredentialsInvalid: it was revoked, or has expired, since the stream began.
    """
    _check_key.get()()


class Guard(grpc.GenericRpcHandler):
    """Guards the services named in `scopes`; all others (health, reflection) are served elsewhere.

    The generated `add_…Servicer_to_server` functions take it for a server: so it collects the handlers that
    it guards. A grpc.aio interceptor would do the same work, but costs a fifth of an empty call by itself
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
    ) -> None:
        """Take the scope that each service needs (by `clarion.v1.TriggerService`), and what bounds calls.

        `deadline` is in seconds, for one call; `max_concurrent` counts those that are being served.
        """
        self._catalog = catalog
        self._scopes = scopes
        self._deadline = deadline
        self._limits = limits
        self._max_concurrent = max_concurrent
        self._in_flight = 0
        self._guarded: dict[str, MethodHandler] = {}

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Take no notice: the same handlers come by name."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, MethodHandler]) -> None:
        """Guard a service's methods."""
        for name, handler in handlers.items():
            most = MAX_BATCH_BYTES if name.startswith(_BATCH) else MAX_MESSAGE_BYTES
            guard = self._guard_stream if handler.response_streaming else self._guard
            self._guarded[f"/{service}/{name}"] = guard(handler, self._scopes[service], most)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> MethodHandler | None:
        """Return the guarded handler of a call."""
        _sent.set(_read(handler_call_details.invocation_metadata))
        return self._guarded.get(handler_call_details.method)

    def _guard(self, handler: MethodHandler, scope: Scope, most_bytes: int) -> MethodHandler:
        serve: Any = handler.unary_unary
        decode = handler.request_deserializer

        async def guarded(raw: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            admitted = self._in_flight < self._max_concurrent
            self._in_flight += admitted
            try:
                if not admitted:
                    raise Overloaded
                _caller.set(self._authenticate(_sent.get().get("authorization"), scope))
                with Deadline(_time_left(context, self._deadline)):
                    return await serve(_decode(decode, raw, most_bytes), context)
            except Exception as error:
                await _refuse(error, context)
            finally:
                self._in_flight -= admitted

        # No deserializer: a message that cannot be decoded is the caller's fault, and answered as such.
        return grpc.unary_unary_rpc_method_handler(guarded, None, handler.response_serializer)

    def _guard_stream(self, handler: MethodHandler, scope: Scope, most_bytes: int) -> MethodHandler:
        """Guard a method that answers with a stream. It has no deadline but its caller's own."""
        serve: Any = handler.unary_stream
        decode = handler.request_deserializer

        async def guarded(raw: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            try:
                header = _sent.get().get("authorization")
                _caller.set(self._authenticate(header, scope))
                _check_key.set(partial(self._working_key, header))
                async with aclosing(serve(_decode(decode, raw, most_bytes), context)) as messages:
                    async for message in messages:
                        await context.write(message)
            except Exception as error:
                await _refuse(error, context)

        return grpc.unary_stream_rpc_method_handler(guarded, None, handler.response_serializer)

    def _working_key(self, header: str | None) -> ApiKey:
        if header is None:
            raise CredentialsMissing
        secret = secret_from_header(header)
        key = self._catalog.key(hash_secret(secret)) if secret else None
        if key is None or not key.works_at(dt.datetime.now(dt.UTC)):
            raise CredentialsInvalid
        return key

    def _authenticate(self, header: str | None, scope: Scope) -> ApiKey:
        key = self._working_key(header)
        _, exceeded = take_tokens(self._limits, self._catalog, key)
        if exceeded:
            raise exceeded
        if scope not in key.scopes:
            raise ScopeMissing(f"The API key lacks the scope {scope}.", metadata={"scope": scope.value})
        return key


class UnknownMethods(grpc.GenericRpcHandler):
    """Refuses what no other handler took, in the same shape as every other error. Stands last."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> MethodHandler | None:
        """Return a handler that refuses before it has read a message, so that streams end too."""
        return grpc.stream_stream_rpc_method_handler(_refuse_unknown)


async def _refuse_unknown(requests: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    await abort(context, MethodUnknown())


async def _refuse(error: Exception, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """End the call with an error; one that is a fault of ours is logged, and told by its id alone.

    Raises:
        grpc.aio.AbortError: always.
    """
    if isinstance(error, grpc.aio.AbortError):
        raise error
    await abort(context, error if isinstance(error, RequestError) else _fault(error, context))


def _decode(decode: Callable[[bytes], Any] | None, raw: bytes, most: int) -> Any:
    assert decode is not None  # noqa: S101 - generated code always has one
    if len(raw) > most:
        raise BodyTooLarge(f"The message has {len(raw)} bytes, at most {most} are taken: send less.")
    try:
        return decode(raw)
    except DecodeError as error:
        violation = Violation("", "is not the protobuf message that this method takes", "INVALID_FORMAT")
        raise InvalidRequest([violation]) from error


def _time_left(context: grpc.aio.ServicerContext[Any, Any], deadline: float) -> float:
    given = context.time_remaining()
    return deadline if given is None else min(given, deadline)


def _read(metadata: Iterable[tuple[str, str | bytes]] | None) -> Mapping[str, str]:
    """Return the entries that every call is asked for. Two of one name are joined, as HTTP does it."""
    found: dict[str, str] = {}
    for name, value in metadata or ():
        if name in _WANTED:
            text = value if isinstance(value, str) else value.decode("ascii", "replace")
            found[name] = f"{found[name]}, {text}" if name in found else text
    return found


def _fault(error: Exception, context: grpc.aio.ServicerContext[Any, Any]) -> RequestError:
    """Log what happened; tell the caller only under which id."""
    sent = dict(context.invocation_metadata() or ())
    request_id = str(sent.get("x-request-id") or uuid.uuid4())
    log.error("internal fault", request_id=request_id, exc_info=error)
    return RequestError("A fault in Clarion; it is logged.", metadata={"request_id": request_id})
