"""The client for asyncio."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Self, Unpack

import grpc
import grpc.aio

from clarion.v1 import delivery_pb2

from .calls import BaseClient, Metadata, Outcome, Stubs, cancel_request, get_request, outcomes_of
from .coalescing import Coalescer
from .deliveries import Change, Delivery, delivery_of
from .endpoint import OPTIONS, Endpoint
from .errors import ClarionError
from .messages import Message
from .prepare import Prepared, prepare, prepare_all
from .reading import PAGE_SIZE, FindFilter, Watch, WatchFilter, list_request
from .results import Accepted
from .retry import Retries

__all__ = ["AsyncClient"]


class AsyncClient(BaseClient[Coroutine[Any, Any, Accepted]]):
    """A client for one event loop, with the calls of Client as coroutines.

    Messages that are triggered at the same time share a few calls, and every caller gets its own result or
    error.
    """

    def __init__(
        self,
        target: str,
        key: str,
        *,
        timeout: float = 5.0,
        ca_file: str | os.PathLike[str] | None = None,
        coalesce: bool = True,
        metadata: Metadata | None = None,
    ) -> None:
        """Create a client. It connects with the first call, and needs no event loop before that.

        Args:
            target: As in Client.
            key: As in Client.
            timeout: As in Client.
            ca_file: As in Client.
            coalesce: Whether triggers may share calls; if False, `trigger` makes a call for each.
            metadata: As in Client; it is called in the context of the task that makes the call. Triggers of
                different tasks do not share calls then, because their metadata may differ.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: An argument is invalid.
            OSError: `ca_file` cannot be read.
        """
        super().__init__(target, key, timeout=timeout, ca_file=ca_file, metadata=metadata)
        self._coalesce = coalesce and metadata is None
        self._coalescer = Coalescer(self._send_batch)
        self._batches: set[Coalescer] = set()
        """The coalescers of batches whose metadata differs."""
        self._opened: _Channel | None = None
        self._streams: set[Any] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Reject further calls, wait for the results of those in progress, and close the connection."""
        self._closed = True
        for stream in tuple(self._streams):
            stream.cancel()
        try:
            for coalescer in (self._coalescer, *self._batches):
                await coalescer.drain()
        finally:
            if self._opened:
                await self._opened.channel.close(grace=self._timeout)

    async def trigger(self, message: Message, *, timeout: float | None = None) -> Accepted:
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
        stubs, one = self._open(), prepare(message)
        if self._coalesce:
            return await self._coalescer.submit(one, self._seconds(timeout))
        method, request = stubs.trigger([one])
        response = await self._call(method, request, timeout, one.request_id)
        return Accepted(response.trigger_id, response.replayed)

    async def trigger_batch(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Outcome]:
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
        self._open()
        seconds = self._seconds(timeout)
        prepared = prepare_all(messages)
        with self._coalescer_of_batch() as coalescer:
            results = [coalescer.submit(one, seconds) for one in prepared]
            return [_outcome(one) for one in await asyncio.gather(*results, return_exceptions=True)]

    async def cancel(self, trigger_id: str, *, timeout: float | None = None) -> None:
        """Cancel a trigger that has not been sent yet. Cancelling it again has no further effect.

        Raises:
            TooLateToCancel: The trigger is being sent, or its delivery has ended.
            NotFound: The key's project has no such trigger.
            ClarionError: The call failed in another way.
        """
        await self._call(self._open().triggers.CancelTrigger, cancel_request(trigger_id), timeout)

    async def get(self, trigger_id: str, *, timeout: float | None = None) -> Delivery:
        """Return a trigger's delivery with all its attempts. Needs the scope `deliveries.read`.

        Raises:
            NotFound: The key's project has no such trigger.
            ClarionError: The call failed in another way.
        """
        response = await self._call(self._open().deliveries.GetTrigger, get_request(trigger_id), timeout)
        return delivery_of(response.delivery)

    async def find(
        self, *, page_size: int = PAGE_SIZE, timeout: float | None = None, **wanted: Unpack[FindFilter]
    ) -> AsyncIterator[Delivery]:
        """Yield the deliveries of the project's triggers, newest first; see Client.find.

        Raises:
            ClarionError: The call for a page failed.
            TypeError: An argument has the wrong type.
            ValueError: A time has no time zone, or the state is unknown.
        """
        request = list_request(wanted, page_size)
        while True:
            page = await self._call(self._open().deliveries.ListTriggers, request, timeout, may_use_all=True)
            for delivery in page.deliveries:
                yield delivery_of(delivery)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def watch(
        self, *, timeout: float | None = None, **watched: Unpack[WatchFilter]
    ) -> AsyncIterator[Change]:
        """Yield changes of deliveries as they are recorded; see Client.watch.

        Raises:
            ClarionError: The call was rejected, or the server could not be reached for `timeout` seconds.
            TypeError: An argument has the wrong type.
            ValueError: An argument has a value that cannot be sent.
        """
        self._open()
        watch = Watch(watched, timeout)
        while not (self._closed or watch.is_over):
            try:
                async with self._stream(watch.request) as messages:
                    async for message in messages:
                        if change := watch.change_of(message):
                            yield change
                return
            except grpc.RpcError as failed:
                seconds = watch.pause_or_raise(self._error(failed), failed)
            await asyncio.sleep(seconds)

    @contextmanager
    def _coalescer_of_batch(self) -> Iterator[Coalescer]:
        """Return what sends a batch: a separate one if each task has its own metadata."""
        if self._more_metadata is None:
            yield self._coalescer
            return
        own = Coalescer(self._send_batch)
        self._batches.add(own)
        try:
            yield own
        finally:
            self._batches.discard(own)

    @asynccontextmanager
    async def _stream(self, request: delivery_pb2.WatchTriggersRequest) -> AsyncIterator[Any]:
        """Open a stream that ends with the block, or when the client is closed."""
        call = self._open().deliveries.WatchTriggers(request, metadata=self._metadata())
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

    def _open(self) -> Stubs:
        """Return the stubs of the channel, which belongs to the event loop of the first call.

        Raises:
            RuntimeError: The client is closed, or belongs to another event loop or process.
        """
        self._check_open()
        loop = asyncio.get_running_loop()
        if self._opened is None:
            channel = _open_channel(self._endpoint)
            self._opened = _Channel(loop, channel, Stubs(channel))
        if self._opened.loop is not loop:
            raise RuntimeError("the client belongs to another event loop; create one in each")
        return self._opened.stubs

    async def _call(
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
            try:
                return await self._attempt(method, request, retries.attempt_timeout)
            except grpc.RpcError as failed:
                seconds = retries.pause_or_raise(self._error(failed, request_id), failed)
            await asyncio.sleep(seconds)
            self._check_open()

    async def _attempt(self, method: Callable[..., Any], request: Any, seconds: float) -> Any:
        return await method(request, metadata=self._metadata(), timeout=seconds)

    async def _send_batch(self, batch: Sequence[Prepared], seconds: float) -> list[Outcome]:
        """Make one call for all messages; if it fails, it failed for each of them."""
        assert self._opened is not None  # noqa: S101 - opened before the first message was submitted
        try:
            return outcomes_of(await self._attempt(*self._opened.stubs.trigger(batch), seconds), batch)
        except grpc.RpcError as failed:
            return self._errors(failed, batch)


@dataclass(frozen=True, slots=True)
class _Channel:
    """An open channel, and the event loop that it belongs to."""

    loop: asyncio.AbstractEventLoop
    channel: grpc.aio.Channel
    stubs: Stubs


def _open_channel(endpoint: Endpoint) -> grpc.aio.Channel:
    if credentials := endpoint.credentials:
        return grpc.aio.secure_channel(endpoint.address, credentials, options=OPTIONS)
    return grpc.aio.insecure_channel(endpoint.address, options=OPTIONS)


def _outcome(result: Accepted | BaseException) -> Outcome:
    if isinstance(result, Accepted | ClarionError):
        return result
    raise result
