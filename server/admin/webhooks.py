"""WebhookService: endpoints of projects."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Awaitable, Callable, Iterable

from google.protobuf.message import Message

from clarion.admin.v1 import webhook_pb2 as pb
from clarion.admin.v1 import webhook_pb2_grpc

from ..api.proto_messages import timestamp
from ..domain.webhook import ENDPOINTS_AT_MOST, Endpoint, EndpointState, EventType, new_secret
from ..errors import InvalidRequest, TooManyEndpoints, Violation
from ..intake.rules import require_valid
from ..store.admin import endpoints as store
from ..store.pool import Pool, reached
from .call import AdminCall
from .change import Change, changing
from .errors import WrongState
from .moments import overlap_in
from .paging import etag_of, page_start, page_token, require_etag
from .webhook_endpoints import find_endpoint, require_active
from .webhook_messages import WebhookMessages

__all__ = ["WebhookServicer"]

_DEFAULT_PAGE = 100
_LONGEST_OVERLAP = dt.timedelta(days=30)


class WebhookServicer(WebhookMessages, webhook_pb2_grpc.WebhookServiceServicer):
    """Manages webhook endpoints.

    Args:
        pool: The database.
        url_problems: Returns every problem of a URL to which messages would be sent.
    """

    def __init__(self, pool: Pool, url_problems: Callable[[str], Awaitable[list[str]]]) -> None:
        super().__init__(pool)
        self._pool = pool
        self._url_problems = url_problems

    async def ListWebhooks(  # noqa: N802 - gRPC's name
        self, request: pb.ListWebhooksRequest, call: AdminCall
    ) -> pb.ListWebhooksResponse:
        """Return a page of endpoints."""
        require_valid(request)
        size = request.page_size or _DEFAULT_PAGE
        skip = page_start(request, int) or 0
        async with reached():
            wanted = await call.scope(self._pool, request.project)
            found = await store.list_endpoints(self._pool, wanted)
        token = page_token(request, skip + size) if len(found) > skip + size else ""
        page = map(_message, found[skip : skip + size])
        return pb.ListWebhooksResponse(webhooks=page, next_page_token=token)

    async def GetWebhook(  # noqa: N802 - gRPC's name
        self, request: pb.GetWebhookRequest, call: AdminCall
    ) -> pb.GetWebhookResponse:
        """Return one endpoint."""
        require_valid(request)
        async with reached():
            endpoint = await find_endpoint(self._pool, call, uuid.UUID(request.webhook_id))
        return pb.GetWebhookResponse(webhook=_message(endpoint))

    async def CreateWebhook(  # noqa: N802 - gRPC's name
        self, request: pb.CreateWebhookRequest, call: AdminCall
    ) -> pb.CreateWebhookResponse:
        """Create an endpoint."""
        require_valid(request)
        events = _events(request.events) or list(EventType)
        async with reached():
            await call.project(self._pool, request.project)  # first, because checking a URL uses the network
        if problems := await self._url_problems(request.url):
            raise InvalidRequest([Violation("url", "; ".join(problems), "INVALID_FORMAT")])
        secret = new_secret()
        async with changing(self._pool, call) as change:
            await call.project(change.connection, request.project)
            try:
                endpoint = await store.create_endpoint(
                    change.connection, project=request.project, url=request.url, events=events, secret=secret
                )
            except TooManyEndpoints as error:
                raise WrongState(
                    f"Project {request.project} has {ENDPOINTS_AT_MOST} endpoints, which is the maximum;"
                    " delete one first."
                ) from error
            await _record(change, "webhook.create", None, endpoint)
        return pb.CreateWebhookResponse(webhook=_message(endpoint), secret=secret)

    async def UpdateWebhook(  # noqa: N802 - gRPC's name
        self, request: pb.UpdateWebhookRequest, call: AdminCall
    ) -> pb.UpdateWebhookResponse:
        """Change the events of an endpoint."""
        require_valid(request)
        events = _events(request.events)
        async with changing(self._pool, call) as change:
            before = await find_endpoint(change.connection, call, uuid.UUID(request.webhook_id))
            require_etag(request.etag, _etag(before), f"Endpoint {before.id}")
            after = await store.set_events(change.connection, before.id, events)
            await _record(change, "webhook.update", before, after)
        return pb.UpdateWebhookResponse(webhook=_message(after))

    async def RotateWebhookSecret(  # noqa: N802 - gRPC's name
        self, request: pb.RotateWebhookSecretRequest, call: AdminCall
    ) -> pb.RotateWebhookSecretResponse:
        """Replace the secret of an endpoint."""
        require_valid(request)
        overlap = overlap_in(request, _LONGEST_OVERLAP)
        secret = new_secret()
        async with changing(self._pool, call) as change:
            before = await find_endpoint(change.connection, call, uuid.UUID(request.webhook_id))
            after = await store.rotate_secret(change.connection, before.id, secret, overlap)
            await _record(change, "webhook.rotate_secret", before, after)
        return pb.RotateWebhookSecretResponse(webhook=_message(after), secret=secret)

    async def EnableWebhook(  # noqa: N802 - gRPC's name
        self, request: pb.EnableWebhookRequest, call: AdminCall
    ) -> pb.EnableWebhookResponse:
        """Enable an endpoint."""
        endpoint = await self._set_state(request, call, request.webhook_id, EndpointState.ACTIVE)
        return pb.EnableWebhookResponse(webhook=_message(endpoint))

    async def DisableWebhook(  # noqa: N802 - gRPC's name
        self, request: pb.DisableWebhookRequest, call: AdminCall
    ) -> pb.DisableWebhookResponse:
        """Disable an endpoint."""
        endpoint = await self._set_state(request, call, request.webhook_id, EndpointState.DISABLED)
        return pb.DisableWebhookResponse(webhook=_message(endpoint))

    async def DeleteWebhook(  # noqa: N802 - gRPC's name
        self, request: pb.DeleteWebhookRequest, call: AdminCall
    ) -> pb.DeleteWebhookResponse:
        """Delete an endpoint."""
        require_valid(request)
        async with changing(self._pool, call) as change:
            endpoint = await find_endpoint(change.connection, call, uuid.UUID(request.webhook_id))
            await store.delete_endpoint(change.connection, endpoint.id)
            await _record(change, "webhook.delete", endpoint, None)
        return pb.DeleteWebhookResponse()

    async def TestWebhook(  # noqa: N802 - gRPC's name
        self, request: pb.TestWebhookRequest, call: AdminCall
    ) -> pb.TestWebhookResponse:
        """Send a test message to an active endpoint."""
        require_valid(request)
        async with changing(self._pool, call) as change:
            endpoint = await find_endpoint(change.connection, call, uuid.UUID(request.webhook_id))
            require_active(endpoint)
            message_id = await store.send_test(change.connection, endpoint.id)
            await _record(change, "webhook.test", endpoint, endpoint)
        return pb.TestWebhookResponse(message_id=str(message_id))

    async def _set_state(
        self, request: Message, call: AdminCall, endpoint_id: str, state: EndpointState
    ) -> Endpoint:
        require_valid(request)
        async with changing(self._pool, call) as change:
            before = await find_endpoint(change.connection, call, uuid.UUID(endpoint_id))
            after = await store.set_state(change.connection, before.id, state)
            action = "webhook.enable" if state is EndpointState.ACTIVE else "webhook.disable"
            await _record(change, action, before, after)
        return after


def _events(words: Iterable[str]) -> list[EventType]:
    """Return the events that a request names.

    Raises:
        InvalidRequest: An event does not exist; every violation is included.
    """
    known = {event.value for event in EventType}
    description = f"must be one of {', '.join(EventType)}"
    wrong = [
        Violation(f"events[{place}]", description, "UNKNOWN_VALUE")
        for place, one in enumerate(words)
        if one not in known
    ]
    if wrong:
        raise InvalidRequest(wrong)
    return [EventType(one) for one in dict.fromkeys(words)]


async def _record(change: Change, action: str, before: Endpoint | None, after: Endpoint | None) -> None:
    endpoint = after or before
    assert endpoint  # noqa: S101 - one of them is given
    await change.record(
        action,
        f"webhook/{endpoint.id}",
        project_id=endpoint.project_id,
        before=_values(before) if before else None,
        after=_values(after) if after else None,
    )


def _values(endpoint: Endpoint) -> dict[str, object]:
    """Return what the audit log records. The URL's query may contain a secret."""
    url = endpoint.url.partition("?")
    return {
        "url": url[0] + ("?…" if url[1] else ""),
        "events": endpoint.events,
        "state": endpoint.state,
        "previous_secret_until": endpoint.previous_until,
    }


def _etag(endpoint: Endpoint) -> str:
    return etag_of({**_values(endpoint), "url": endpoint.url})


def _message(endpoint: Endpoint) -> pb.Webhook:
    return pb.Webhook(
        webhook_id=str(endpoint.id),
        project=endpoint.project,
        url=endpoint.url,
        events=endpoint.events,
        state=endpoint.state.value,
        disabled_because=endpoint.disabled_because,
        create_time=timestamp(endpoint.created_at),
        previous_secret_until=timestamp(endpoint.previous_until),
        etag=_etag(endpoint),
    )
