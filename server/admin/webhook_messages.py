"""The part of WebhookService about messages: the log, retries and replays."""

from __future__ import annotations

import base64
import datetime as dt
import uuid
from collections.abc import Sequence
from itertools import groupby

import msgspec

from clarion.admin.v1 import webhook_pb2 as pb

from ..api.proto_messages import timestamp
from ..domain.webhook import Endpoint, Logged
from ..errors import InvalidRequest, Violation
from ..intake.rules import require_valid
from ..store.admin import webhook_log as store
from ..store.pool import Pool, reached
from .call import AdminCall
from .change import changing
from .moments import moment_in
from .paging import page_start, page_token
from .webhook_endpoints import find_endpoint, require_active

__all__ = ["WebhookMessages", "message_of"]

_DEFAULT_PAGE = 50
_STEPS_OF_A_CALL = 10
_ONE_OF_TWO = Violation("", "needs either message_ids or webhook_id", "REQUIRED")
_BAD_AFTER = Violation("after", "must be the after of the previous response", "INVALID_FORMAT")


class WebhookMessages:
    """Lists, retries and replays messages to endpoints.

    Args:
        pool: The database.
    """

    def __init__(self, pool: Pool) -> None:
        self._messages = pool

    async def ListWebhookMessages(  # noqa: N802 - gRPC's name
        self, request: pb.ListWebhookMessagesRequest, call: AdminCall
    ) -> pb.ListWebhookMessagesResponse:
        """Return a page of messages with their attempts."""
        require_valid(request)
        size = request.page_size or _DEFAULT_PAGE
        start = page_start(request, store.Position)
        endpoint_id = uuid.UUID(request.webhook_id) if request.webhook_id else None
        async with reached():
            page = await store.list_log(
                self._messages,
                endpoint_id,
                failed=request.failed,
                projects=call.visible,
                after=start,
                limit=size,
            )
            if endpoint_id and not page.rows and start is None:
                await self._require_endpoint(call, endpoint_id)
        end = page.end
        return pb.ListWebhookMessagesResponse(
            webhook_messages=[
                message_of(list(group)) for _, group in groupby(page.rows, key=lambda row: row.message_id)
            ],
            next_page_token=page_token(request, end) if end else "",
            searched_back_to=timestamp(end.created_at) if end else None,
        )

    async def RetryWebhookMessages(  # noqa: N802 - gRPC's name
        self, request: pb.RetryWebhookMessagesRequest, call: AdminCall
    ) -> pb.RetryWebhookMessagesResponse:
        """Make failed messages due at once."""
        require_valid(request)
        if bool(request.message_ids) == bool(request.webhook_id):
            raise InvalidRequest([_ONE_OF_TWO])
        endpoint_id = uuid.UUID(request.webhook_id) if request.webhook_id else None
        ids = [uuid.UUID(one) for one in dict.fromkeys(request.message_ids)] or None
        async with reached():
            if endpoint_id:
                await self._require_endpoint(call, endpoint_id)
            until = (
                moment_in(request, "until")
                if request.HasField("until")
                else await store.database_time(self._messages)
            )
        total, done = 0, False
        for _ in range(_STEPS_OF_A_CALL):
            async with changing(self._messages, call) as change:
                counts, done = await store.retry_messages(
                    change.connection, until, ids=ids, endpoint_id=endpoint_id, projects=call.visible
                )
                resource = f"webhook/{endpoint_id}" if endpoint_id else "webhook_messages"
                for project_id, count in counts.items():
                    await change.record(
                        "webhook_messages.retry", resource, project_id=project_id, after={"retried": count}
                    )
            total += counts.total()
            if done:
                break
        return pb.RetryWebhookMessagesResponse(retried=total, done=done, until=timestamp(until))

    async def ReplayWebhookMessages(  # noqa: N802 - gRPC's name
        self, request: pb.ReplayWebhookMessagesRequest, call: AdminCall
    ) -> pb.ReplayWebhookMessagesResponse:
        """Queue the messages of an endpoint since a time again."""
        require_valid(request)
        endpoint_id = uuid.UUID(request.webhook_id)
        since = moment_in(request, "since")
        async with reached():
            project_id = (await self._require_endpoint(call, endpoint_id)).project_id
            until, after = _continued(request.after) or (await store.database_time(self._messages), None)
        total = 0
        for _ in range(_STEPS_OF_A_CALL):
            async with changing(self._messages, call) as change:
                queued, after = await store.replay_messages(
                    change.connection, endpoint_id, since, until, after
                )
                if queued:
                    await change.record(
                        "webhook.replay",
                        f"webhook/{endpoint_id}",
                        project_id=project_id,
                        after={"since": since, "queued": queued},
                    )
            total += queued
            if after is None:
                break
        return pb.ReplayWebhookMessagesResponse(
            replayed=total, done=after is None, after=_continuation(until, after) if after else ""
        )

    async def _require_endpoint(self, call: AdminCall, endpoint_id: uuid.UUID) -> Endpoint:
        """Return an endpoint for whose project the caller has the role; for changes, it must be active.

        Raises:
            EndpointNotFound: The endpoint does not exist, or the caller may not see it.
            RoleMissing: The caller lacks the role.
            WrongState: Nothing is sent to the endpoint, because it is disabled.
        """
        endpoint = await find_endpoint(self._messages, call, endpoint_id)
        if call.changes:
            require_active(endpoint)
        return endpoint


def _continuation(until: dt.datetime, after: tuple[dt.datetime, uuid.UUID]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode((until, after))).decode()


def _continued(text: str) -> tuple[dt.datetime, tuple[dt.datetime, uuid.UUID]] | None:
    """Return what `_continuation` encoded, or None for an empty text.

    Raises:
        InvalidRequest: The text is something else.
    """
    if not text:
        return None
    try:
        raw = base64.urlsafe_b64decode(text)
        return msgspec.json.decode(raw, type=tuple[dt.datetime, tuple[dt.datetime, uuid.UUID]])
    except (ValueError, msgspec.MsgspecError):
        raise InvalidRequest([_BAD_AFTER]) from None


def message_of(rows: Sequence[Logged]) -> pb.WebhookMessage:
    """Return a message of the rows of its attempts."""
    first = rows[0]
    return pb.WebhookMessage(
        message_id=str(first.message_id),
        webhook_id=str(first.endpoint_id),
        type=first.type,
        trigger_id=str(first.trigger_id or ""),
        create_time=timestamp(first.created_at),
        message_state=first.state.value,
        next_attempt_time=timestamp(first.next_attempt_at),
        webhook_attempts=[_attempt(row) for row in rows if row.attempt],
    )


def _attempt(row: Logged) -> pb.WebhookAttempt:
    attempt = row.attempt
    assert attempt  # noqa: S101 - the caller has checked it
    message = pb.WebhookAttempt(
        number=attempt.number,
        result=attempt.outcome.value,
        status=row.status or 0,
        start_time=timestamp(attempt.started_at),
        error=attempt.error,
        answer=row.answer,
    )
    message.duration.FromMicroseconds(int(attempt.duration * 1_000_000))
    return message
