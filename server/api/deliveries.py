"""DeliveryService: one trigger, lists of them, and what happens to them while it happens."""

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
"""A page ends early rather than be larger. As JSON it has four times as much, and 4 MiB pass the gateway."""
_CURSOR = "cursor"


class DeliveryServicer(delivery_pb2_grpc.DeliveryServiceServicer):
    """Tells what became of triggers."""

    def __init__(self, records: Records, feed: ChangeFeed) -> None:
        """Take where deliveries are read, and what tells their changes."""
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
        """Return the same, as earlier releases did."""
        return pb.GetDeliveryResponse(
            delivery=delivery_message(await self._find(call, request, request.trigger_id))
        )

    async def ListTriggers(  # noqa: N802 - gRPC's name
        self, request: pb.ListTriggersRequest, call: Call
    ) -> pb.ListTriggersResponse:
        """Return a page of the caller's project's triggers."""
        project = call.project_id
        listed, after = _listed(request, project)
        size = request.page_size or _DEFAULT_PAGE
        found = await self._records.list_triggers(project, listed, after=after, limit=size + 1)
        page = list(_fitting(found[:size]))
        last = found[len(page) - 1].trigger_id if len(page) < len(found) else None
        return pb.ListTriggersResponse(
            deliveries=page, next_page_token=page_token(last, project, listed) if last else ""
        )

    async def WatchTriggers(  # noqa: N802 - gRPC's name
        self, request: pb.WatchTriggersRequest, call: Call
    ) -> AsyncGenerator[pb.WatchTriggersResponse]:
        """Tell what changes."""
        async with aclosing(self._watch(call, request)) as told:
            async for messages in told:
                for message in messages:
                    yield message

    async def StreamTriggers(  # noqa: N802 - gRPC's name
        self, request: pb.WatchTriggersRequest, call: Call
    ) -> AsyncGenerator[httpbody_pb2.HttpBody]:
        """Tell the same as server-sent events; what ends them for good is the last of them."""
        by_header = call.last_event_id
        request.cursor = by_header or request.cursor
        begun = False
        try:
            async with aclosing(self._watch(call, request)) as told:
                async for messages in told:
                    for body in events(messages):
                        yield body
                        begun = True
        except InvalidRequest as error:
            raise InvalidRequest(
                _naming_header(error.violations) if by_header else error.violations
            ) from error
        except RequestError as error:
            status = to_status(error)
            if not begun or status.code == code_pb2.UNAVAILABLE:  # the stream can continue elsewhere or later
                raise
            yield last_event(status)
        else:
            yield last_event(status_pb2.Status())

    def _watch(
        self, call: Call, request: pb.WatchTriggersRequest
    ) -> AsyncGenerator[list[pb.WatchTriggersResponse]]:
        followed, start = _followed(request)
        return watch(self._feed, call.project_id, followed, start, call.require_working_key)

    async def _find(self, call: Call, request: Message, trigger_id: str) -> Delivery:
        require_valid(request)
        delivery = await self._records.find_delivery(uuid.UUID(trigger_id), call.project_id)
        if delivery is None:
            raise DeliveryNotFound.of(trigger_id)
        return delivery


def _listed(request: pb.ListTriggersRequest, project_id: int) -> tuple[DeliveryFilter, uuid.UUID | None]:
    """Return which triggers are wanted, and the last one that the caller has.

    Raises:
        InvalidRequest: all violations.
    """
    violations = check_rules(request)
    campaign_id = _campaign_id(request.campaign_id, violations)
    since = _moment(request, "accepted_since", violations)
    before = _moment(request, "accepted_before", violations)
    if violations:
        raise InvalidRequest(violations)
    name = pb.DeliveryState.Name(request.state).removeprefix("DELIVERY_STATE_").lower()
    listed = DeliveryFilter(
        campaign_id=campaign_id,
        external_id=request.external_id or None,
        state=DeliveryState(name) if request.state else None,
        since=since,
        before=before,
    )
    after = last_of_page(request.page_token, project_id, listed) if request.page_token else None
    if request.page_token and after is None:
        raise InvalidRequest([_token_of_another_query()])
    return listed, after


def _fitting(found: Sequence[Delivery]) -> Iterator[pb.Delivery]:
    """Yield as many as fit into an answer; the first one in any case."""
    size = 0
    for delivery in found:
        message = delivery_message(delivery)
        size += message.ByteSize()
        if size > _MAX_PAGE_BYTES and delivery is not found[0]:
            return
        yield message


def _followed(request: pb.WatchTriggersRequest) -> tuple[WatchFilter, Position | None]:
    """Return which triggers are followed, and from where on.

    Raises:
        InvalidRequest: all violations.
    """
    violations = check_rules(request)
    campaign_id = _campaign_id(request.campaign_id, violations)
    if request.trigger_ids and (request.campaign_id or request.external_id):
        violations.append(_two_choices())
    start = None
    if request.cursor and not any(one.field == _CURSOR for one in violations):
        start = position_of(request.cursor)
        if start is None:
            violations.append(_no_cursor())
    if violations:
        raise InvalidRequest(violations)
    ids = tuple(dict.fromkeys(uuid.UUID(one) for one in request.trigger_ids))
    followed = WatchFilter(
        campaign_id=campaign_id,
        external_id=request.external_id or None,
        trigger_ids=ids or None,
    )
    return followed, start


def _moment(request: Message, field: str, violations: list[Violation]) -> dt.datetime | None:
    """Return the moment in a field, if there is one; what is wrong with it joins the violations."""
    if not request.HasField(field):
        return None
    moment = moment_of(getattr(request, field), field)
    if isinstance(moment, Violation):
        violations.append(moment)
        return None
    return moment


def _campaign_id(text: str, violations: list[Violation]) -> int | None:
    """Return the number that the rules find in a text; that it is too large joins the violations."""
    if not text or any(one.field == "campaign_id" for one in violations):
        return None
    if int(text) > MAX_CAMPAIGN_ID:
        description = f"must be an integer from 1 to {MAX_CAMPAIGN_ID}, found {quoted(text)}"
        violations.append(Violation("campaign_id", description, "WRONG_TYPE"))
    return int(text)


def _two_choices() -> Violation:
    description = "cannot be given beside campaign_id or external_id: they would choose among these"
    return Violation("trigger_ids", description, "INVALID_FORMAT")


def _no_cursor() -> Violation:
    return Violation(_CURSOR, "must be the cursor of a message of an earlier call", "INVALID_FORMAT")


def _naming_header(violations: Sequence[Violation]) -> list[Violation]:
    """Return violations with the name of the header that the cursor came in."""
    return [replace(one, field=LAST_EVENT_ID) if one.field == _CURSOR else one for one in violations]


def _token_of_another_query() -> Violation:
    description = (
        "is of another query, or damaged: ask with the parameters of the page before, or without page_token"
    )
    return Violation("page_token", description, "INVALID_FORMAT")
