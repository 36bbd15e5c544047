"""Converts errors to `google.rpc.Status`, which callers receive both over REST and over gRPC."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from clarion.v1 import error_reason_pb2, options_pb2

from ..errors import RequestError, Violation
from . import metrics

__all__ = ["FAULTS", "abort", "code_of", "status_name", "to_status"]

DOMAIN = "clarion"
FAULTS = frozenset({"DATA_LOSS", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "UNIMPLEMENTED", "UNKNOWN"})
"""The codes of calls that failed without a mistake of the caller
(https://opentelemetry.io/docs/specs/semconv/rpc/grpc/)."""
_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}
_PREFIX = "ERROR_REASON_"
_ANSWER: Any = options_pb2.answer  # its .pyi file has an older type than `Extensions` expects
# In bytes. Envoy and grpcio clients fail if the headers of a response exceed 8 KiB. The details are base64,
# which adds a third; the message is sent twice, in the details and percent-encoded in `grpc-message`.
_MAX_DETAIL_BYTES = 2500
_MAX_TEXT = 120
_MAX_FIELD = 80
_MAX_BUILT = 64


@dataclass(frozen=True)
class _Status(grpc.Status):
    """The argument of abort_with_status, which replaces all trailing metadata that was set earlier."""

    code: grpc.StatusCode
    details: str
    trailing_metadata: tuple[tuple[str, str | bytes], ...]


_built: dict[tuple[object, ...], _Status] = {}


def to_status(error: RequestError) -> status_pb2.Status:
    """Return the status of an error.

    Its details are an ErrorInfo, a BadRequest if there are violations, and a RetryInfo if there is a wait.
    """
    status = status_pb2.Status(code=_code(error.reason), message=_cut(str(error), 2 * _MAX_TEXT))
    facts = {name: _cut(fact, _MAX_TEXT) for name, fact in error.metadata.items()}
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=facts)
    status.details.add().Pack(info)
    if error.violations:
        status.details.add().Pack(_bad_request(error.violations))
    if error.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        # Rounded up, so that clients do not retry too early.
        retry.retry_delay.FromMilliseconds(math.ceil(error.retry_after * 1000))
        status.details.add().Pack(retry)
    return status


def code_of(error: Exception) -> int:
    """Return the gRPC status code with which a call ends that raised this error."""
    return _code(error.reason if isinstance(error, RequestError) else RequestError.reason)


def status_name(code: object) -> str:
    """Return the name of a status code, which grpcio returns as a number or as its own enum."""
    number = code.value[0] if isinstance(code, grpc.StatusCode) else code
    return _NAMES.get(number, "UNKNOWN") if isinstance(number, int) else "UNKNOWN"


@functools.cache
def _code(reason: str) -> int:
    """Return the `google.rpc.Code` in the options of a reason, see error_reason.proto."""
    value = error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name[f"{_PREFIX}{reason}"]
    answer: options_pb2.ErrorAnswer = value.GetOptions().Extensions[_ANSWER]
    return answer.code


async def abort(context: grpc.aio.ServicerContext[object, object], error: RequestError) -> None:
    """End the call with this error.

    Raises:
        grpc.aio.AbortError: Always.
    """
    metrics.refused(error.reason)
    await context.abort_with_status(_status(error))


def _status(error: RequestError) -> _Status:
    """Return the argument of abort_with_status. Those without details are built once, as that takes 30 µs."""
    if error.metadata or error.violations:
        return _build(error)
    key = (error.reason, str(error), error.retry_after, error.headers)
    found = _built.get(key)
    if found is None:
        if len(_built) >= _MAX_BUILT:
            _built.clear()
        found = _built[key] = _build(error)
    return found


def _build(error: RequestError) -> _Status:
    status = rpc_status.to_status(to_status(error))
    metadata = (*status.trailing_metadata, *_retry_after(error.retry_after), *error.headers)
    return _Status(status.code, status.details, metadata)


def _retry_after(seconds: float | None) -> tuple[tuple[str, str], ...]:
    """Return the metadata that Envoy turns into the HTTP header `Retry-After`."""
    return () if seconds is None else (("retry-after", str(max(1, math.ceil(seconds)))),)


def _bad_request(violations: tuple[Violation, ...]) -> error_details_pb2.BadRequest:
    bad = error_details_pb2.BadRequest()
    for number, violation in enumerate(violations):
        if bad.ByteSize() > _MAX_DETAIL_BYTES:
            more = f"and {len(violations) - number} more violations"
            bad.field_violations.add(description=more, reason="OUT_OF_RANGE")
            break
        bad.field_violations.add(
            field=_cut(violation.field, _MAX_FIELD),
            description=_cut(violation.description, _MAX_TEXT),
            reason=violation.reason,
        )
    return bad


def _cut(text: str, most: int) -> str:
    raw = text.encode()
    return text if len(raw) <= most else raw[: most - 3].decode(errors="ignore") + "…"
