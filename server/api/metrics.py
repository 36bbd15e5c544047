"""The metrics of API calls."""

from __future__ import annotations

import functools
import time

import grpc
from prometheus_client import Counter

from ..metrics import LoopHistogram, counter

__all__ = ["MethodMetrics", "refused"]

_CALLS = counter(
    "clarion_calls", "Calls of the API and the admin API, by method and gRPC status code.", ["method", "code"]
)
_SECONDS = LoopHistogram(
    "clarion_call_seconds",
    "Duration of calls, except streams.",
    ["method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_REFUSED = counter("clarion_calls_refused", "Calls that ended with an error, by its reason.", ["reason"])

_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}
_CANCELLED = grpc.StatusCode.CANCELLED.value[0]


class MethodMetrics:
    """The metrics of one method, whose look-ups by labels are cached: they take longer than to count.

    Args:
        path: The method's path, such as `/clarion.v1.TriggerService/TriggerEmail`.
        is_stream: Whether it returns a stream, whose duration is the caller's choice.
    """

    __slots__ = ("_calls", "_method", "_seconds")

    def __init__(self, path: str, *, is_stream: bool) -> None:
        self._method = path.removeprefix("/")
        self._seconds = None if is_stream else _SECONDS.labels(self._method)
        self._calls: dict[int, Counter] = {}

    def ended(self, code: int | None, began: float) -> None:
        """Count a call.

        Args:
            code: Its gRPC status code; None if the caller cancelled it.
            began: When it began, by `time.perf_counter`.
        """
        number = _CANCELLED if code is None else code
        calls = self._calls.get(number)
        if calls is None:
            calls = self._calls[number] = _CALLS.labels(self._method, _NAMES.get(number, "UNKNOWN"))
        calls.inc()
        if self._seconds:
            self._seconds.observe(time.perf_counter() - began)


@functools.cache  # as many as there are reasons in error_reason.proto
def _refused_by(reason: str) -> Counter:
    return _REFUSED.labels(reason)


def refused(reason: str) -> None:
    """Count a call that ended with an error of the API."""
    _refused_by(reason).inc()
