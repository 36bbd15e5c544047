"""The client for asyncio."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self, Unpack

import grpc
import grpc.aio

from clarion.v1 import delivery_pb2, delivery_pb2_grpc, trigger_pb2_grpc
from clarion.v1 import trigger_pb2 as pb

from .answers import Accepted
from .arguments import checked_text
from .calls import Calls, Outcome, batch_request, outcomes_of
from .coalescing import Coalescer
from .deliveries import Change, Delivery, delivery_of
from .endpoint import OPTIONS, Endpoint
from .errors import ClarionError, error_of, status_of
from .messages import Message, Prepared, prepare, prepare_all
from .reading import PAGE, Filter, Followed, Watching, list_request
from .retry import Tries

__all__ = ["AsyncClient"]


class AsyncClient(Calls[Coroutine[Any, Any, Accepted]]):
    """Calls Clarion from one event loop: as Client, with `await`.

    What is triggered at the same time travels together in few calls, and every caller gets its own answer or
    error. `coalesce=False` makes a call for each.
    """

    def __init__(
        self,
        target: str,
        key: str,
        *,
        timeout: float = 5.0,
        ca_file: str | os.PathLike[str] | None = None,
        coalesce: bool = True,
    ) -> None:
        """As Client; `coalesce` lets triggers travel together. Needs no running event loop yet."""
        super().__init__(target, key, timeout=timeout, ca_file=ca_file)
        self._coalesce = coalesce
        self._coalescer = Coalescer(self._send)
        self._opened: _Line | None = None
        self._streams: set[Any] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Take no more calls, let those that were made come to their answers, and close the connection."""
        self._closed = True
        for stream in tuple(self._streams):
            stream.cancel()
        try:
            await self._coalescer.drain()
        finally:
            if self._opened:
                await self._opened.channel.close(grace=self._timeout)

    async def trigger(self, message: Message, *, timeout: float | None = None) -> Accepted:
        """Trigger one message.

        Raises:
            ClarionError: it was refused, or not answered in time; see the tree in `errors.py`.
            TypeError: an argument is of the wrong type, or holds what JSON cannot.
            ValueError: an argument cannot be sent.
        """
        line, one = self._open(), prepare(message)
        if self._coalesce:
            return await self._coalescer.submit(one, self._seconds(timeout))
        answer = await self._call(line.single[one.kind], one.request, timeout, one.request_id)
        return Accepted(answer.trigger_id, answer.replayed)

    async def trigger_batch(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Outcome]:
        """Trigger any number of messages; return what became of each, in their order.

        A refused one is in the list as the ClarionError that `trigger` would have raised. They travel a
        thousand to a call, or 2 MB; `timeout` is for all of them.

        Raises:
            TypeError: an argument is of the wrong type, or holds what JSON cannot; nothing was sent.
            ValueError: an argument cannot be sent; nothing was.
        """
        self._open()
        seconds = self._seconds(timeout)
        prepared = prepare_all(messages)
        answers = [self._coalescer.submit(one, seconds) for one in prepared]
        return [_outcome(one) for one in await asyncio.gather(*answers, return_exceptions=True)]

    async def cancel(self, trigger_id: str, *, timeout: float | None = None) -> None:
        """Call a trigger off that was not sent yet; cancelling it again does no harm.

        Raises:
            TooLateToCancel: it is being sent, or its delivery has ended.
            NotFound: the key's project has no such trigger.
            ClarionError: any other refusal.
        """
        request = pb.CancelTriggerRequest(trigger_id=checked_text("trigger_id", trigger_id))
        await self._call(self._open().stub.CancelTrigger, request, timeout)

    async def get(self, trigger_id: str, *, timeout: float | None = None) -> Delivery:
        """Return where a trigger stands, with all its attempts. The key needs the scope `deliveries.read`.

        Raises:
            NotFound: the key's project has no such trigger.
            ClarionError: any other refusal.
        """
        request = delivery_pb2.GetTriggerRequest(trigger_id=checked_text("trigger_id", trigger_id))
        return delivery_of((await self._call(self._open().reader.GetTrigger, request, timeout)).delivery)

    async def find(
        self, *, page_size: int = PAGE, timeout: float | None = None, **wanted: Unpack[Filter]
    ) -> AsyncIterator[Delivery]:
        """Yield the project's triggers that are wanted, the newest first; see Client.find.

        Raises:
            ClarionError: a page was refused, or not answered in time.
            ValueError: a moment has no time zone, or there is no such state.
        """
        request = list_request(wanted, page_size)
        while True:
            page = await self._call(self._open().reader.ListTriggers, request, timeout, whole=True)
            for delivery in page.deliveries:
                yield delivery_of(delivery)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def watch(
        self, *, timeout: float | None = None, **followed: Unpack[Followed]
    ) -> AsyncIterator[Change]:
        """Yield what happens to triggers as it is recorded; see Client.watch.

        Raises:
            ClarionError: it was refused, or the server could not be reached for `timeout` seconds.
            TypeError: an argument is of the wrong type.
            ValueError: an argument cannot be sent.
        """
        self._open()
        watching = Watching(followed, timeout)
        while not (self._closed or watching.is_over):
            try:
                async with self._stream(watching.request) as messages:
                    async for message in messages:
                        if change := watching.heard(message):
                            yield change
                return
            except grpc.RpcError as failed:
                error = error_of(status_of(failed, str(self._endpoint)))
                seconds = watching.pause(error)
                if seconds is None:
                    raise error from failed
            await asyncio.sleep(seconds)

    @asynccontextmanager
    async def _stream(self, request: delivery_pb2.WatchTriggersRequest) -> AsyncIterator[Any]:
        """Give a stream that ends with the block, or with the client."""
        call = self._open().reader.WatchTriggers(request, metadata=self._endpoint.metadata)
        self._streams.add(call)
        try:
            yield call
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._closed or (task and task.cancelling()):
                raise
        finally:
            self._streams.discard(call)
            call.cancel()

    def _open(self) -> _Line:
        """Return the connection's stubs; it belongs to the event loop of the first call.

        Raises:
            RuntimeError: the client is closed, or another loop's or process's.
        """
        self._check_open()
        loop = asyncio.get_running_loop()
        if self._opened is None:
            self._opened = _Line.open(self._endpoint, loop)
        if self._opened.loop is not loop:
            raise RuntimeError("the client belongs to another event loop: make one in each")
        return self._opened

    async def _call(
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
            try:
                return await self._try(method, request, tries.limit)
            except grpc.RpcError as failed:
                error = error_of(status_of(failed, str(self._endpoint)), request_id)
                seconds = tries.pause(error)
                if seconds is None:
                    raise tries.final(error) from failed
            await asyncio.sleep(seconds)
            self._check_open()

    async def _try(self, method: Callable[..., Any], request: Any, seconds: float) -> Any:
        return await method(request, metadata=self._endpoint.metadata, timeout=seconds)

    async def _send(self, batch: Sequence[Prepared], seconds: float) -> Sequence[Outcome]:
        """Make one call for all of them; when it fails, it has failed for each."""
        assert self._opened is not None  # noqa: S101 - who submits has opened it
        try:
            if len(batch) == 1:
                answer = await self._try(self._opened.single[batch[0].kind], batch[0].request, seconds)
                return [Accepted(answer.trigger_id, answer.replayed)]
            answer = await self._try(self._opened.stub.BatchTrigger, batch_request(batch), seconds)
            return outcomes_of(answer, batch)
        except grpc.RpcError as failed:
            status = status_of(failed, str(self._endpoint))
            return [error_of(status, one.request_id) for one in batch]


@dataclass(frozen=True, slots=True)
class _Line:
    """An open channel, and what is called on it."""

    loop: asyncio.AbstractEventLoop
    channel: grpc.aio.Channel
    stub: Any
    reader: Any
    single: Mapping[str, Callable[..., Any]]
    """The typed call of each kind of message."""

    @classmethod
    def open(cls, endpoint: Endpoint, loop: asyncio.AbstractEventLoop) -> Self:
        """Make the channel; it connects with the first call."""
        if credentials := endpoint.credentials:
            channel = grpc.aio.secure_channel(endpoint.address, credentials, options=OPTIONS)
        else:
            channel = grpc.aio.insecure_channel(endpoint.address, options=OPTIONS)
        stub: Any = trigger_pb2_grpc.TriggerServiceStub(channel)
        single = {"email": stub.TriggerEmail, "text": stub.TriggerText, "push": stub.TriggerPush}
        return cls(loop, channel, stub, delivery_pb2_grpc.DeliveryServiceStub(channel), single)


def _outcome(answer: Accepted | BaseException) -> Outcome:
    if isinstance(answer, Accepted | ClarionError):
        return answer
    raise answer
