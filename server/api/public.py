"""Methods that need no key: health and reflection, and the rejection of methods that do not exist.

For a message that cannot be decoded, their libraries would answer UNKNOWN with an internal text, and log a
traceback.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc

from ..errors import MethodUnknown
from .rejection import Context, MethodHandler, decode, reject
from .status import abort

__all__ = ["PublicMethods", "UnknownMethods"]


class PublicMethods(grpc.GenericRpcHandler):
    """Serves methods without a key, and rejects what they cannot decode with the error format of the API.

    Like `Guard`, it collects the handlers that generated code registers.
    """

    def __init__(self) -> None:
        """Start without methods."""
        self._methods: dict[str, MethodHandler] = {}

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Do nothing: generated code also passes the same handlers by name."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, MethodHandler]) -> None:
        """Serve the methods of a service."""
        for name, handler in handlers.items():
            self._methods[f"/{service}/{name}"] = _checked(handler)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> MethodHandler | None:
        """Return the handler of a call, or None if the method is not one of these."""
        return self._methods.get(handler_call_details.method)


class UnknownMethods(grpc.GenericRpcHandler):
    """Rejects unknown methods with the error format of the API. Must be the last handler of the server."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> MethodHandler | None:
        """Return a handler for any kind of call. It reads no request, so it works for streams as well."""
        return grpc.stream_stream_rpc_method_handler(_reject_unknown)


async def _reject_unknown(requests: object, context: Context) -> None:
    await abort(context, MethodUnknown())


def _checked(handler: MethodHandler) -> MethodHandler:
    """Return a handler that decodes the request here, and rejects what the library does not implement."""
    serialize = handler.response_serializer
    if handler.request_streaming:
        return grpc.stream_stream_rpc_method_handler(_streams(handler), response_serializer=serialize)
    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler(_stream(handler), response_serializer=serialize)
    return grpc.unary_unary_rpc_method_handler(_unary(handler), response_serializer=serialize)


@asynccontextmanager
async def _rejecting(context: Context) -> AsyncIterator[None]:
    """End the call with an error of the API if the block raises one."""
    try:
        yield
    except NotImplementedError:
        await abort(context, MethodUnknown())
    except Exception as error:
        await reject(error, context)


def _unary(handler: MethodHandler) -> Callable[..., Any]:
    serve: Any = handler.unary_unary

    async def checked(raw: bytes, context: Context) -> Any:
        async with _rejecting(context):
            return await serve(decode(handler, raw, {}), context)

    return checked


def _stream(handler: MethodHandler) -> Callable[..., Any]:
    serve: Any = handler.unary_stream

    async def checked(raw: bytes, context: Context) -> None:
        async with _rejecting(context):
            await serve(decode(handler, raw, {}), context)

    return checked


def _streams(handler: MethodHandler) -> Callable[..., Any]:
    """Return a handler that serves each request of a stream on its own, as reflection keeps no state."""
    serve: Any = handler.stream_stream

    async def checked(raws: AsyncIterator[bytes], context: Context) -> None:
        async with _rejecting(context):
            async for raw in raws:
                async for answer in serve(_one(decode(handler, raw, {})), context):
                    await context.write(answer)

    return checked


async def _one(request: Any) -> AsyncIterator[Any]:
    yield request
