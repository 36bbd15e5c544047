"""DeliveryService: returns one delivery, lists deliveries, and streams their changes."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace

from google.api import httpbody_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, status_pb2

from clarion.v1 import delivery_pb2 as pb
from clarion.v1 import delivery_pb2_grpc

from ..domain.delivery import Delivery, DeliveryFilter, DeliveryState, Position, WatchFilter
from ..domain.ports import ChangeFeed, Records
from ..domain.wording import quoted
from ..errors import DeliveryNotFound, InvalidRequest, RequestError, Violation
from ..intake.contract import MAX_CAMPAIGN_ID
from ..intake.rules import check_rules, require_valid
from ..intake.send_at import moment_of
from .call import LAST_EVENT_ID, Call
from .page_tokens import last_of_page, page_token, position_of
from .proto_messages import delivery_message
from .sse import events, last_event
from .status import to_status
from .watch import watch

__all__ = ["DeliveryServicer"]

_DEFAULT_PAGE = 50
_MAX_PAGE_BYTES = 512 * 1024
"""Maximum size of a page: a larger one is cut short. The JSON is up to four times as large, and the gateway
allows 4 MiB."""
_CURSOR = "cursor"
_INVALID_CURSOR = Violation(_CURSOR, "must be the cursor of a message from an earlier call", "INVALID_FORMAT")
_INVALID_TOKEN = Violation(
    "page_token",
    "is damaged or from another query; repeat the parameters of the previous page, or omit page_token",
    "INVALID_FORMAT",
)
_CONFLICTING_FILTERS = Violation(
    "trigger_ids", "cannot be combined with campaign_id or external_id; omit those", "INVALID_FORMAT"
)


class DeliveryServicer(delivery_pb2_grpc.DeliveryServiceServicer):
    """Returns the state and the attempts of triggers."""

    def __init__(self, records: Records, feed: ChangeFeed) -> None:
        """Create the service.

        Args:
            records: Reads deliveries.
            feed: The log of changes.
        """
        self._records = records
        self._feed = feed

    async def GetTrigger(  # noqa: N802 - gRPC's name
        self, request: pb.GetTriggerRequest, call: Call
    ) -> pb.GetTriggerResponse:
        """Return one trigger of the caller's project."""
        return pb.GetTriggerResponse(
            delivery=delivery_message(await self._find(call, request, request.trigger_id))
        )

    async def GetDelivery(  # noqa: N802 - gRPC's name
        self, request: pb.GetDeliveryRequest, call: Call
    ) -> pb.GetDeliveryResponse:
        """Return what GetTrigger returns. Deprecated; kept for clients of earlier releases."""
        return pb.GetDeliveryResponse(
            delivery=delivery_message(await self._find(call, request, request.trigger_id))
        )

    async def ListTriggers(  # noqa: N802 - gRPC's name
        self, request: pb.ListTriggersRequest, call: Call
    ) -> pb.ListTriggersResponse:
        """Return a page of the caller's project's triggers."""
        project = call.project_id
        query, after = _list_query(request, call)
        size = request.page_size or _DEFAULT_PAGE
        deliveries = await self._records.list_triggers(project, query, after=after, limit=size + 1)
        page = list(_fit_page(deliveries[:size]))
        last = deliveries[len(page) - 1].trigger_id if len(page) < len(deliveries) else None
        return pb.ListTriggersResponse(
            deliveries=page, next_page_token=page_token(last, project, query) if last else ""
        )

    async def WatchTriggers(  # noqa: N802 - gRPC's name
        self, request: pb.WatchTriggersRequest, call: Call
    ) -> AsyncGenerator[pb.WatchTriggersResponse]:
        """Stream changes of the caller's project's triggers."""
        async with aclosing(self._watch(call, request)) as stream:
            async for messages in stream:
                for message in messages:
                    yield message

    async def StreamTriggers(  # noqa: N802 - gRPC's name
        self, request: pb.WatchTriggersRequest, call: Call
    ) -> AsyncGenerator[httpbody_pb2.HttpBody]:
        """Stream changes as server-sent events.

        Readers reconnect when a stream ends. A last event `end`, with the status, means that they should not.
        """
        by_header = call.last_event_id
        request.cursor = by_header or request.cursor
        started = False
        try:
            async with aclosing(self._watch(call, request)) as stream:
                async for messages in stream:
                    for body in events(messages):
                        yield body
                        started = True
        except InvalidRequest as error:
            violations = _rename_cursor(error.violations) if by_header else error.violations
            raise InvalidRequest(violations) from error
        except RequestError as error:
            status = to_status(error)
            # After UNAVAILABLE, readers should reconnect: another server may work, or this one later.
            if not started or status.code == code_pb2.UNAVAILABLE:
                raise
            yield last_event(status)
        else:
            yield last_event(status_pb2.Status())

    def _watch(
        self, call: Call, request: pb.WatchTriggersRequest
    ) -> AsyncGenerator[list[pb.WatchTriggersResponse]]:
        followed, start = _watch_query(request, call)
        return watch(self._feed, call.project_id, followed, start, call.require_working_key)

    async def _find(self, call: Call, request: Message, trigger_id: str) -> Delivery:
        require_valid(request)
        delivery = await self._records.find_delivery(uuid.UUID(trigger_id), call.project_id)
        if delivery is None or not call.sees(delivery):
            raise DeliveryNotFound.of(trigger_id)
        return delivery


def _list_query(request: pb.ListTriggersRequest, call: Call) -> tuple[DeliveryFilter, uuid.UUID | None]:
    """Return the filter of a list, and the last trigger of the previous page.

    Raises:
        InvalidRequest: Parameters are invalid; every violation is included.
    """
    violations = check_rules(request)
    campaign_id = _campaign_id(request.campaign_id, violations)
    since = _moment(request, "accepted_since", violations)
    before = _moment(request, "accepted_before", violations)
    if violations:
        raise InvalidRequest(violations)
    name = pb.DeliveryState.Name(request.state).removeprefix("DELIVERY_STATE_").lower()
    query = DeliveryFilter(
        campaign_id=campaign_id,
        external_id=request.external_id or None,
        state=DeliveryState(name) if request.state else None,
        since=since,
        before=before,
        test=call.tests_only,
    )
    after = last_of_page(request.page_token, call.project_id, query) if request.page_token else None
    if request.page_token and after is None:
        raise InvalidRequest([_INVALID_TOKEN])
    return query, after


def _fit_page(deliveries: Sequence[Delivery]) -> Iterator[pb.Delivery]:
    """Yield the messages of as many deliveries as fit into a response, but at least one."""
    size = 0
    for delivery in deliveries:
        message = delivery_message(delivery)
        size += message.ByteSize()
        if size > _MAX_PAGE_BYTES and delivery is not deliveries[0]:
            return
        yield message


def _watch_query(request: pb.WatchTriggersRequest, call: Call) -> tuple[WatchFilter, Position | None]:
    """Return the filter of a stream, and the position at which it starts.

    Raises:
        InvalidRequest: Parameters are invalid; every violation is included.
    """
    violations = check_rules(request)
    campaign_id = _campaign_id(request.campaign_id, violations)
    if request.trigger_ids and (request.campaign_id or request.external_id):
        violations.append(_CONFLICTING_FILTERS)
    start = None
    if request.cursor and not any(violation.field == _CURSOR for violation in violations):
        start = position_of(request.cursor)
        if start is None:
            violations.append(_INVALID_CURSOR)
    if violations:
        raise InvalidRequest(violations)
    ids = tuple(dict.fromkeys(uuid.UUID(text) for text in request.trigger_ids))
    followed = WatchFilter(
        campaign_id=campaign_id,
        external_id=request.external_id or None,
        trigger_ids=ids or None,
        test=call.tests_only,
    )
    return followed, start


def _moment(request: Message, field: str, violations: list[Violation]) -> dt.datetime | None:
    """Return the time in a field, or None if it is not set. If it is invalid, append a violation."""
    if not request.HasField(field):
        return None
    moment = moment_of(getattr(request, field), field)
    if isinstance(moment, Violation):
        violations.append(moment)
        return None
    return moment


def _campaign_id(text: str, violations: list[Violation]) -> int | None:
    """Return the campaign ID, or None if it is not set. If it is too large, append a violation."""
    if not text or any(violation.field == "campaign_id" for violation in violations):
        return None
    if int(text) > MAX_CAMPAIGN_ID:
        description = f"must be an integer from 1 to {MAX_CAMPAIGN_ID}, found {quoted(text)}"
        violations.append(Violation("campaign_id", description, "WRONG_TYPE"))
    return int(text)


def _rename_cursor(violations: Sequence[Violation]) -> list[Violation]:
    """Replace the field `cursor` in violations by the header in which the cursor was sent."""
    return [
        replace(violation, field=LAST_EVENT_ID) if violation.field == _CURSOR else violation
        for violation in violations
    ]
