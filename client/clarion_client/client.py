"""The client for threads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Self, Unpack

import grpc

from clarion.v1 import delivery_pb2, delivery_pb2_grpc, trigger_pb2_grpc
from clarion.v1 import trigger_pb2 as pb

from .answers import Accepted
from .arguments import checked_text
from .calls import Calls, Outcome, batch_request, outcomes_of
from .deliveries import Change, Delivery, delivery_of
from .endpoint import OPTIONS, Endpoint
from .errors import error_of, status_of
from .messages import Message, Prepared, portion, prepare, prepare_all
from .reading import PAGE, Filter, Followed, Watching, list_request
from .retry import Tries

__all__ = ["Client"]


class Client(Calls[Accepted]):
    """Calls Clarion. Threads can share one; it keeps one connection.

    Every call has a deadline, and tries again until then what fails for a moment. That is safe: each message
    has a `request_id`, so nothing is sent twice.
    """

    def __init__(
        self,
        target: str,
        key: str,
        *,
        timeout: float = 5.0,
        ca_file: str | os.PathLike[str] | None = None,
    ) -> None:
        """Take where the gateway is: `host:port`, `http://host:port` or `https://host`.

        `key` is an API key. `timeout` is in seconds, for a whole call with all its tries, unless the call has
        its own. `ca_file` names the certificates (PEM) to trust, instead of the system's. Nothing connects
        before the first call.

        Raises:
            ValueError: one of them cannot be right.
            OSError: `ca_file` cannot be read.
        """
        super().__init__(target, key, timeout=timeout, ca_file=ca_file)
        self._channel = _channel(self._endpoint)
        stub: Any = trigger_pb2_grpc.TriggerServiceStub(self._channel)
        self._stub = stub
        self._reader: Any = delivery_pb2_grpc.DeliveryServiceStub(self._channel)
        self._single = {"email": stub.TriggerEmail, "text": stub.TriggerText, "push": stub.TriggerPush}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls under way end with an error."""
        self._closed = True
        self._channel.close()

    def trigger(self, message: Message, *, timeout: float | None = None) -> Accepted:
        """Trigger one message.

        Raises:
            ClarionError: it was refused, or not answered in time; see the tree in `errors.py`.
            TypeError: an argument is of the wrong type, or holds what JSON cannot.
            ValueError: an argument cannot be sent.
        """
        one = prepare(message)
        answer = self._call(self._single[one.kind], one.request, timeout, one.request_id)
        return Accepted(answer.trigger_id, answer.replayed)

    def trigger_batch(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Outcome]:
        """Trigger any number of messages; return what became of each, in their order.

        A refused one is in the list as the ClarionError that `trigger` would have raised. They travel a
        thousand to a call, or 2 MB; `timeout` is for all of them.

        Raises:
            TypeError: an argument is of the wrong type, or holds what JSON cannot; nothing was sent.
            ValueError: an argument cannot be sent; nothing was.
        """
        prepared = prepare_all(messages)
        tries = Tries(self._seconds(timeout))
        outcomes: dict[int, Outcome] = {}
        waiting = list(range(len(prepared)))
        while waiting:
            outcomes |= self._round(prepared, waiting, tries)
            pauses = tries.pauses({place: outcomes[place] for place in waiting})
            time.sleep(max(pauses.values(), default=0.0))
            waiting = list(pauses)
        return [outcomes[place] for place in range(len(prepared))]

    def cancel(self, trigger_id: str, *, timeout: float | None = None) -> None:
        """Call a trigger off that was not sent yet; cancelling it again does no harm.

        Raises:
            TooLateToCancel: it is being sent, or its delivery has ended.
            NotFound: the key's project has no such trigger.
            ClarionError: any other refusal.
        """
        self._call(
            self._stub.CancelTrigger,
            pb.CancelTriggerRequest(trigger_id=checked_text("trigger_id", trigger_id)),
            timeout,
        )

    def get(self, trigger_id: str, *, timeout: float | None = None) -> Delivery:
        """Return where a trigger stands, with all its attempts. The key needs the scope `deliveries.read`.

        Raises:
            NotFound: the key's project has no such trigger.
            ClarionError: any other refusal.
        """
        request = delivery_pb2.GetTriggerRequest(trigger_id=checked_text("trigger_id", trigger_id))
        return delivery_of(self._call(self._reader.GetTrigger, request, timeout).delivery)

    def find(
        self, *, page_size: int = PAGE, timeout: float | None = None, **wanted: Unpack[Filter]
    ) -> Iterator[Delivery]:
        """Yield the project's triggers that are wanted, the newest first; see Filter.

        They come in pages of `page_size`, each when it is asked for; `timeout` is for a page. The key needs
        the scope `deliveries.read`.

        Raises:
            ClarionError: a page was refused, or not answered in time.
            ValueError: a moment has no time zone, or there is no such state.
        """
        request = list_request(wanted, page_size)
        while True:
            page = self._call(self._reader.ListTriggers, request, timeout, whole=True)
            yield from map(delivery_of, page.deliveries)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def watch(self, *, timeout: float | None = None, **followed: Unpack[Followed]) -> Iterator[Change]:
        """Yield what happens to triggers as it is recorded; see Followed.

        It goes on through lost connections, outages and restarts, from where it was: nothing is missed, and
        something may be told twice. Each break is logged once, as a warning of `clarion_client`. It tries
        again without end, or for `timeout` seconds in vain. It ends when all `trigger_ids` have come to their
        end, or the client is closed; else never. The key needs the scope `deliveries.read`.

        Raises:
            ClarionError: it was refused, or the server could not be reached for `timeout` seconds.
            TypeError: an argument is of the wrong type.
            ValueError: an argument cannot be sent.
        """
        self._check_open()
        watching = Watching(followed, timeout)
        while not (self._closed or watching.is_over):
            call = self._reader.WatchTriggers(watching.request, metadata=self._endpoint.metadata)
            try:
                yield from filter(None, map(watching.heard, call))
                return
            except grpc.RpcError as failed:
                if self._closed:
                    return
                error = error_of(status_of(failed, str(self._endpoint)))
                seconds = watching.pause(error)
                if seconds is None:
                    raise error from failed
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
        whole: bool = False,
    ) -> Any:
        """Call until there is an answer, or an error that no further try would mend; `whole` as in Tries."""
        tries = Tries(self._seconds(timeout), whole=whole)
        while True:
            self._check_open()
            try:
                return self._try(method, request, tries)
            except grpc.RpcError as failed:
                error = error_of(status_of(failed, str(self._endpoint)), request_id)
                seconds = tries.pause(error)
                if seconds is None:
                    raise tries.final(error) from failed
            time.sleep(seconds)

    def _try(self, method: Callable[..., Any], request: Any, tries: Tries) -> Any:
        return method(request, metadata=self._endpoint.metadata, timeout=tries.limit)

    def _round(
        self, prepared: Sequence[Prepared], waiting: Sequence[int], tries: Tries
    ) -> dict[int, Outcome]:
        """Send those that wait, in as many calls as it takes; who waits in vain keeps the outcome it had."""
        outcomes: dict[int, Outcome] = {}
        while (places := waiting[len(outcomes) :]) and not tries.are_over:
            places = places[: portion(prepared[place].size for place in places)]
            sent = self._send([prepared[place] for place in places], tries)
            outcomes |= dict(zip(places, sent, strict=True))
        return outcomes

    def _send(self, batch: Sequence[Prepared], tries: Tries) -> Sequence[Outcome]:
        """Make one call for all of them; when it fails, it has failed for each."""
        self._check_open()
        try:
            if len(batch) == 1:
                answer = self._try(self._single[batch[0].kind], batch[0].request, tries)
                return [Accepted(answer.trigger_id, answer.replayed)]
            return outcomes_of(self._try(self._stub.BatchTrigger, batch_request(batch), tries), batch)
        except grpc.RpcError as failed:
            status = status_of(failed, str(self._endpoint))
            return [error_of(status, one.request_id) for one in batch]


def _channel(endpoint: Endpoint) -> grpc.Channel:
    if credentials := endpoint.credentials:
        return grpc.secure_channel(endpoint.address, credentials, options=OPTIONS)
    return grpc.insecure_channel(endpoint.address, options=OPTIONS)
