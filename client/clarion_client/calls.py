"""The parts that both clients share: settings, stubs, and reading responses."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import grpc

from clarion.v1 import delivery_pb2, delivery_pb2_grpc, trigger_pb2_grpc
from clarion.v1 import trigger_pb2 as pb

from .arguments import checked_seconds, checked_text
from .endpoint import Endpoint
from .errors import ClarionError, error_of, status_of
from .messages import ResultT, TriggerCalls
from .prepare import Prepared
from .results import Accepted

__all__ = ["BaseClient", "Metadata", "Outcome", "Stubs", "cancel_request", "get_request", "outcomes_of"]

Outcome: TypeAlias = Accepted | ClarionError
Metadata: TypeAlias = Callable[[], Iterable[tuple[str, str]]]
"""Returns more metadata for a call: names in lower case, each with its value."""


class Stubs:
    """The stubs of one gRPC channel, for threads or for asyncio."""

    def __init__(self, channel: Any) -> None:
        """Create the stubs.

        Args:
            channel: A `grpc.Channel` or `grpc.aio.Channel`.
        """
        self.triggers: Any = trigger_pb2_grpc.TriggerServiceStub(channel)
        self.deliveries: Any = delivery_pb2_grpc.DeliveryServiceStub(channel)

    def trigger(self, batch: Sequence[Prepared]) -> tuple[Callable[..., Any], Any]:
        """Return the method and the request that trigger one or several messages."""
        if len(batch) == 1:
            return getattr(self.triggers, batch[0].method), batch[0].request
        return self.triggers.BatchTrigger, pb.BatchTriggerRequest(triggers=[one.item for one in batch])


class BaseClient(TriggerCalls[ResultT]):
    """A client's settings, and the trigger calls by channel."""

    def __init__(
        self,
        target: str,
        key: str,
        *,
        timeout: float = 5.0,
        ca_file: str | os.PathLike[str] | None = None,
        metadata: Metadata | None = None,
    ) -> None:
        """Check the settings; see Client."""
        if metadata is not None and not callable(metadata):
            raise TypeError(f"metadata: must be a function, not {type(metadata).__name__}")
        self._more_metadata = metadata
        self._endpoint = Endpoint.parse(target, key, ca_file)
        self._timeout = checked_seconds("timeout", timeout)
        self._closed = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._endpoint)!r}, key=…)"

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the metadata of a call that starts now."""
        more = self._more_metadata() if self._more_metadata else ()
        return (*self._endpoint.metadata, *more)

    def _seconds(self, timeout: float | None) -> float:
        """Return the timeout of a call, in seconds."""
        return self._timeout if timeout is None else checked_seconds("timeout", timeout)

    def _error(self, failed: grpc.RpcError, request_id: str = "") -> ClarionError:
        """Return the exception for a failed call."""
        return error_of(status_of(failed, str(self._endpoint)), request_id)

    def _errors(self, failed: grpc.RpcError, batch: Sequence[Prepared]) -> list[Outcome]:
        """Return the outcomes of a call that failed as a whole."""
        return [self._error(failed, one.request_id) for one in batch]

    def _check_open(self) -> None:
        """Check that the client can make calls.

        Raises:
            RuntimeError: The client is closed, or was created before a fork.
        """
        if self._closed:
            raise RuntimeError("the client is closed; create another one")
        self._endpoint.check_process()


def cancel_request(trigger_id: str) -> pb.CancelTriggerRequest:
    """Return the request that cancels a trigger."""
    return pb.CancelTriggerRequest(trigger_id=checked_text("trigger_id", trigger_id))


def get_request(trigger_id: str) -> delivery_pb2.GetTriggerRequest:
    """Return the request for a trigger's delivery."""
    return delivery_pb2.GetTriggerRequest(trigger_id=checked_text("trigger_id", trigger_id))


def outcomes_of(response: Any, batch: Sequence[Prepared]) -> list[Outcome]:
    """Return the outcome of each message that `Stubs.trigger` sent."""
    if not isinstance(response, pb.BatchTriggerResponse):
        return [Accepted(response.trigger_id, response.replayed)]
    return [_outcome(one, sent.request_id) for one, sent in zip(response.outcomes, batch, strict=True)]


def _outcome(one: pb.BatchOutcome, request_id: str) -> Outcome:
    if one.HasField("error"):
        return error_of(one.error, request_id)
    return Accepted(one.trigger_id, one.replayed)
