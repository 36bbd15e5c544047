"""What both clients have: their settings, and the typed trigger calls."""

from __future__ import annotations

import datetime as dt
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, Required, TypeAlias, TypedDict, TypeVar, Unpack

from clarion.v1 import trigger_pb2 as pb

from .answers import Accepted
from .arguments import checked_seconds
from .endpoint import Endpoint
from .errors import ClarionError, error_of
from .messages import Email, Json, Message, Prepared, Push, Text

__all__ = ["Calls", "Outcome", "batch_request", "outcomes_of"]

Outcome: TypeAlias = Accepted | ClarionError
Answer = TypeVar("Answer")
"""`Accepted`, or a coroutine of it."""


class Options(TypedDict, total=False):
    """What a trigger of any channel takes; see Email."""

    external_id: Required[str]
    event: Json | None
    data: Json | None
    timezone: str
    locale: str
    send_at: dt.datetime | None
    request_id: str | None


class Calls(ABC, Generic[Answer]):
    """The settings of a client, and the trigger calls by channel."""

    def __init__(
        self,
        target: str,
        key: str,
        *,
        timeout: float = 5.0,
        ca_file: str | os.PathLike[str] | None = None,
    ) -> None:
        """See Client."""
        self._endpoint = Endpoint.parse(target, key, ca_file)
        self._timeout = checked_seconds("timeout", timeout)
        self._closed = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._endpoint)!r}, key=…)"

    @abstractmethod
    def trigger(self, message: Message, *, timeout: float | None = None) -> Answer:
        """Trigger one message."""

    def trigger_email(
        self, campaign_id: int, *, email: str, timeout: float | None = None, **options: Unpack[Options]
    ) -> Answer:
        """Send an email campaign to one user: `trigger` with an Email of these arguments."""
        return self.trigger(Email(campaign_id, email=email, **_given(options)), timeout=timeout)

    def trigger_text(
        self, campaign_id: int, *, phone: str, timeout: float | None = None, **options: Unpack[Options]
    ) -> Answer:
        """Send a text message campaign to one user: `trigger` with a Text of these arguments."""
        return self.trigger(Text(campaign_id, phone=phone, **_given(options)), timeout=timeout)

    def trigger_push(
        self, campaign_id: int, *, device_token: str, timeout: float | None = None, **options: Unpack[Options]
    ) -> Answer:
        """Send a push campaign to one device of a user: `trigger` with a Push of these arguments."""
        return self.trigger(Push(campaign_id, device_token=device_token, **_given(options)), timeout=timeout)

    def _seconds(self, timeout: float | None) -> float:
        """Return how long this call may take."""
        return self._timeout if timeout is None else checked_seconds("timeout", timeout)

    def _check_open(self) -> None:
        """Refuse calls that nothing could answer.

        Raises:
            RuntimeError: the client is closed, or was made before a fork.
        """
        if self._closed:
            raise RuntimeError("the client is closed: make another one")
        self._endpoint.check_process()


def batch_request(batch: Sequence[Prepared]) -> pb.BatchTriggerRequest:
    """Return the request that triggers all of them."""
    return pb.BatchTriggerRequest(triggers=[one.item for one in batch])


def outcomes_of(answer: pb.BatchTriggerResponse, batch: Sequence[Prepared]) -> list[Outcome]:
    """Return what became of each."""
    return [_outcome(one, sent.request_id) for one, sent in zip(answer.outcomes, batch, strict=True)]


def _outcome(one: pb.BatchOutcome, request_id: str) -> Outcome:
    if one.HasField("error"):
        return error_of(one.error, request_id)
    return Accepted(one.trigger_id, one.replayed)


def _given(options: Options) -> Any:
    """Leave a `request_id` of None out: then the message makes its own."""
    return {name: value for name, value in options.items() if (name, value) != ("request_id", None)}
