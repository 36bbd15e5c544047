"""What all methods share: how a request is decoded, and how a call is rejected."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError

from ..errors import InvalidRequest, RequestError, Violation
from ..intake.rest_message import QUERY, complete
from .status import abort

__all__ = ["INTERNAL_MESSAGE", "Context", "MethodHandler", "decode", "reject"]

log = structlog.get_logger(__name__)

INTERNAL_MESSAGE = "Clarion failed unexpectedly; the error has been logged."
MethodHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


def decode(handler: MethodHandler, raw: bytes, headers: Mapping[str, str]) -> Any:
    """Return the request of a method.

    Args:
        handler: The handler of the method.
        raw: The request as it was received.
        headers: The headers that are read of the request. Over REST, QUERY is among them.

    Raises:
        InvalidRequest: It is not the protobuf message that the method accepts; over REST, its query or body
            is invalid.
    """
    deserialize = handler.request_deserializer
    assert deserialize is not None  # noqa: S101 - generated code always has one
    try:
        message = deserialize(raw)
        complete(message, raw, headers.get(QUERY))
    except DecodeError as error:
        violation = Violation("", "is not the protobuf message that this method accepts", "INVALID_FORMAT")
        raise InvalidRequest([violation]) from error
    return message


async def reject(error: Exception, context: Context) -> None:
    """End the call with an error. An unexpected error is logged, and the caller gets only its log ID.

    Raises:
        grpc.aio.AbortError: Always.
    """
    if isinstance(error, grpc.aio.AbortError):
        raise error
    await abort(context, error if isinstance(error, RequestError) else _log_fault(error, context))


def _log_fault(error: Exception, context: Context) -> RequestError:
    """Log an unexpected error. Return the error for the caller, which has only the ID of the log entry."""
    sent = dict(context.invocation_metadata() or ())
    request_id = str(sent.get("x-request-id") or uuid.uuid4())
    log.error("internal fault", request_id=request_id, exc_info=error)
    return RequestError(INTERNAL_MESSAGE, metadata={"request_id": request_id})
