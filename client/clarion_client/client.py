"""The client for threads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Self, Unpack

import grpc

from .calls import BaseClient, Metadata, Outcome, Stubs, cancel_request, get_request, outcomes_of
from .deliveries import Change, Delivery, delivery_of
from .endpoint import OPTIONS, Endpoint
from .messages import Message
from .prepare import Prepared, portion, prepare, prepare_all
from .reading import PAGE_SIZE, FindFilter, Watch, WatchFilter, list_request
from .results import Accepted
from .retry import Retries

__all__ = ["Client"]


class Client(BaseClient[Accepted]):
    """A client for code that uses threads. Threads can share one; it keeps one connection.

    Every call has a deadline, until which temporary failures are retried. That is safe: each message has a
    `request_id`, so nothing is sent twice.
    """

    def __init__(
        self,
        target: str,
        key: str,
        *,
        timeout: float = 5.0,
        ca_file: str | os.PathLike[str] | None = None,
        metadata: Metadata | None = None,
    ) -> None:
        """Create a client. It connects with the first call.

        Args:
            target: The gateway's address: `host:port`, `http://host:port` or `https://host`.
            key: An API key.
            timeout: Seconds for a whole call with all its attempts, unless the call has its own timeout.
            ca_file: Path of the certificates (PEM) to trust instead of the system's.
            metadata: Is called before each attempt of a call, and returns more metadata for it, such as a
                `traceparent`. Names must be in lower case.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: An argument is invalid.
            OSError: `ca_file` cannot be read.
        """
        super().__init__(target, key, timeout=timeout, ca_file=ca_file, metadata=metadata)
        self._channel = _open_channel(self._endpoint)
        self._stubs = Stubs(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. Calls in progress fail."""
        self._closed = True
        self._channel.close()

    def trigger(self, message: Message, *, timeout: float | None = None) -> Accepted:
        """Trigger one message.

        Args:
            message: An Email, Text or Push.
            timeout: Seconds for this call with all its attempts.

        Returns:
            The trigger's ID.

        Raises:
            ClarionError: The trigger was rejected, or not answered in time; see the tree in `errors.py`.
            TypeError: A field has the wrong type, or holds values that JSON does not have.
            ValueError: A field has a value that cannot be sent.
        """
        one = prepare(message)
        method, request = self._stubs.trigger([one])
        response = self._call(method, request, timeout, one.request_id)
        return Accepted(response.trigger_id, response.replayed)

    def trigger_batch(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Outcome]:
        """Trigger any number of messages. Each call carries up to a thousand of them, or 2 MB.

        Args:
            messages: Emails, Texts and Pushes.
            timeout: Seconds for all messages together.

        Returns:
            The outcome of each message, in their order. For a rejected message it is the ClarionError that
            `trigger` would have raised.

        Raises:
            TypeError: A field has the wrong type, or holds values that JSON does not have; nothing was sent.
            ValueError: A field has a value that cannot be sent; nothing was sent.
        """
        prepared = prepare_all(messages)
        retries = Retries(self._seconds(timeout))
        outcomes: dict[int, Outcome] = {}
        pending = list(range(len(prepared)))
        while pending:
            outcomes |= self._send_pending(prepared, pending, retries)
            pauses = retries.pauses({index: outcomes[index] for index in pending})
            time.sleep(max(pauses.values(), default=0.0))
            pending = list(pauses)
        return [outcomes[index] for index in range(len(prepared))]

    def cancel(self, trigger_id: str, *, timeout: float | None = None) -> None:
        """Cancel a trigger that has not been sent yet. Cancelling it again has no further effect.

        Raises:
            TooLateToCancel: The trigger is being sent, or its delivery has ended.
            NotFound: The key's project has no such trigger.
            ClarionError: The call failed in another way.
        """
        self._call(self._stubs.triggers.CancelTrigger, cancel_request(trigger_id), timeout)

    def get(self, trigger_id: str, *, timeout: float | None = None) -> Delivery:
        """Return a trigger's delivery with all its attempts. Needs the scope `deliveries.read`.

        Raises:
            NotFound: The key's project has no such trigger.
            ClarionError: The call failed in another way.
        """
        response = self._call(self._stubs.deliveries.GetTrigger, get_request(trigger_id), timeout)
        return delivery_of(response.delivery)

    def find(
        self, *, page_size: int = PAGE_SIZE, timeout: float | None = None, **wanted: Unpack[FindFilter]
    ) -> Iterator[Delivery]:
        """Yield the deliveries of the project's triggers, newest first. Needs the scope `deliveries.read`.

        Args:
            page_size: Number of triggers to request at once. Each page is requested when it is needed.
            timeout: Seconds for each page.
            **wanted: Filters, all of which must match; see FindFilter.

        Raises:
            ClarionError: The call for a page failed.
            TypeError: An argument has the wrong type.
            ValueError: A time has no time zone, or the state is unknown.
        """
        request = list_request(wanted, page_size)
        while True:
            page = self._call(self._stubs.deliveries.ListTriggers, request, timeout, may_use_all=True)
            yield from map(delivery_of, page.deliveries)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def watch(self, *, timeout: float | None = None, **watched: Unpack[WatchFilter]) -> Iterator[Change]:
        """Yield changes of deliveries as they are recorded. Needs the scope `deliveries.read`.

        It continues where it was after lost connections, outages and restarts: no change is missed, but
        changes may be repeated. It logs each interruption once, as a warning of the logger `clarion_client`.
        It ends when the deliveries of all `trigger_ids` have ended, or when the client is closed; otherwise
        never.

        Args:
            timeout: Seconds to try to reconnect after an interruption; None: forever.
            **watched: What to watch; see WatchFilter.

        Raises:
            ClarionError: The call was rejected, or the server could not be reached for `timeout` seconds.
            TypeError: An argument has the wrong type.
            ValueError: An argument has a value that cannot be sent.
        """
        self._check_open()
        watch = Watch(watched, timeout)
        while not (self._closed or watch.is_over):
            call = self._stubs.deliveries.WatchTriggers(watch.request, metadata=self._metadata())
            try:
                yield from filter(None, map(watch.change_of, call))
                return
            except grpc.RpcError as failed:
                if self._closed:
                    return
                seconds = watch.pause_or_raise(self._error(failed), failed)
            finally:
                call.cancel()
            time.sleep(seconds)

    def _call(
        self,
        method: Callable[..., Any],
        request: Any,
        timeout: float | None,
        request_id: str = "",
        *,
        may_use_all: bool = False,
    ) -> Any:
        """Call until there is a response or a final error; `may_use_all` as in Retries."""
        retries = Retries(self._seconds(timeout), may_use_all=may_use_all)
        while True:
            self._check_open()
            try:
                return self._attempt(method, request, retries)
            except grpc.RpcError as failed:
                seconds = retries.pause_or_raise(self._error(failed, request_id), failed)
            time.sleep(seconds)

    def _attempt(self, method: Callable[..., Any], request: Any, retries: Retries) -> Any:
        return method(request, metadata=self._metadata(), timeout=retries.attempt_timeout)

    def _send_pending(
        self, prepared: Sequence[Prepared], pending: Sequence[int], retries: Retries
    ) -> dict[int, Outcome]:
        """Send the pending messages, in as many calls as necessary.

        Returns:
            Outcomes by index. Messages for which no time was left have none, so they keep their previous one.
        """
        outcomes: dict[int, Outcome] = {}
        while (indexes := pending[len(outcomes) :]) and not retries.are_over:
            indexes = indexes[: portion(prepared[index].size for index in indexes)]
            sent = self._send_batch([prepared[index] for index in indexes], retries)
            outcomes |= dict(zip(indexes, sent, strict=True))
        return outcomes

    def _send_batch(self, batch: Sequence[Prepared], retries: Retries) -> list[Outcome]:
        """Make one call for all messages; if it fails, it failed for each of them."""
        self._check_open()
        try:
            return outcomes_of(self._attempt(*self._stubs.trigger(batch), retries), batch)
        except grpc.RpcError as failed:
            return self._errors(failed, batch)


def _open_channel(endpoint: Endpoint) -> grpc.Channel:
    if credentials := endpoint.credentials:
        return grpc.secure_channel(endpoint.address, credentials, options=OPTIONS)
    return grpc.insecure_channel(endpoint.address, options=OPTIONS)
