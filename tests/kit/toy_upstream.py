"""A small gRPC server that answers as the path's campaign id asks it to: for the gateway's tests alone."""

# ruff: noqa: N802  # gRPC names the methods
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.api import httpbody_pb2
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from clarion.v1 import (
    api_key_pb2,
    api_key_pb2_grpc,
    campaign_pb2,
    campaign_pb2_grpc,
    delivery_pb2,
    delivery_pb2_grpc,
    trigger_pb2,
    trigger_pb2_grpc,
)
from server.api.rejection import reject
from server.api.server import OPTIONS
from server.errors import InvalidRequest
from server.intake.rest_message import QUERY, complete

__all__ = ["READY_SERVICE", "TRIGGER_ID", "Toy", "running"]

TRIGGER_ID = "0196b0a4-5c4f-7e0a-9d3c-3f6f1c2b7a55"
READY_SERVICE = "clarion.v1.TriggerService"
REFUSALS = {
    "bad": (code_pb2.INVALID_ARGUMENT, "INVALID_REQUEST"),
    "paused": (code_pb2.FAILED_PRECONDITION, "CAMPAIGN_PAUSED"),
    "unknown-key": (code_pb2.UNAUTHENTICATED, "CREDENTIALS_INVALID"),
    "forbidden": (code_pb2.PERMISSION_DENIED, "CAMPAIGN_FORBIDDEN"),
    "missing": (code_pb2.NOT_FOUND, "CAMPAIGN_NOT_FOUND"),
    "limited": (code_pb2.RESOURCE_EXHAUSTED, "RATE_LIMITED"),
    "store-down": (code_pb2.UNAVAILABLE, "STORE_UNAVAILABLE"),
    "too-slow": (code_pb2.DEADLINE_EXCEEDED, "TIMED_OUT"),
    "fault": (code_pb2.INTERNAL, "INTERNAL_FAULT"),
}
RETRY_AFTER = (("retry-after", "7"),)


@dataclass(frozen=True)
class Refusal(grpc.Status):
    """A rich status. `abort_with_status` sends its trailing metadata, and drops what was set before."""

    code: grpc.StatusCode
    details: str
    trailing_metadata: tuple[tuple[str, str | bytes], ...]


def refusal(name: str) -> Refusal:
    """Return the rich status that a campaign id asks for."""
    code, reason = REFUSALS[name]
    details: list[Any] = [error_details_pb2.ErrorInfo(reason=reason, domain="clarion")]
    if name == "bad":
        violation = error_details_pb2.BadRequest.FieldViolation(
            field="user.email", description="is required", reason="REQUIRED"
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    message = status_pb2.Status(code=code, message=f"refused: {name}", details=map(packed, details))
    rich = rpc_status.to_status(message)
    waits = RETRY_AFTER if name in {"limited", "store-down"} else ()
    return Refusal(rich.code, rich.details, (*rich.trailing_metadata, *waits))


def packed(detail: Any) -> any_pb2.Any:
    """Wrap a message in an `Any`."""
    wrapped = any_pb2.Any()
    wrapped.Pack(detail)
    return wrapped


async def add_rest(request: Any, context: Any) -> None:
    """Complete a request from its query and body, as the server's guard does."""
    try:
        complete(request, request.SerializeToString(), dict(context.invocation_metadata()).get(QUERY))
    except InvalidRequest as error:
        await reject(error, context)


class Toy(trigger_pb2_grpc.TriggerServiceServicer):
    """Answers triggers; remembers the last request and its metadata; can be called unwell."""

    def __init__(self) -> None:
        self.calls = 0
        self.last = trigger_pb2.TriggerCampaignRequest()
        self.metadata: dict[str, str] = {}
        self.health = health.aio.HealthServicer()
        self.free = asyncio.Event()
        """Lets those go who wait."""
        self.server = grpc.aio.server(options=OPTIONS)

    async def stop(self) -> None:
        """Go away, without a word to those who wait."""
        await self.server.stop(0)

    async def TriggerEmail(self, request: Any, context: Any) -> trigger_pb2.TriggerEmailResponse:
        return trigger_pb2.TriggerEmailResponse(trigger_id=TRIGGER_ID)

    async def TriggerCampaign(self, request: Any, context: Any) -> trigger_pb2.TriggerCampaignResponse:
        self.calls += 1
        self.last = request
        self.metadata = dict(context.invocation_metadata())
        await self._answer(request.campaign_id, context)
        return trigger_pb2.TriggerCampaignResponse(trigger_id=TRIGGER_ID)

    async def BatchTriggerCampaigns(self, request: Any, context: Any) -> httpbody_pb2.HttpBody:
        return httpbody_pb2.HttpBody(content_type="application/json", data=request.body.data)

    async def _answer(self, wish: str, context: Any) -> None:
        if wish == "sleep":
            await asyncio.sleep(30)
        if wish == "wait":
            await self.free.wait()
        if wish == "nap":
            await asyncio.sleep(0.5)
        if wish in REFUSALS:
            await context.abort_with_status(refusal(wish))


class Deliveries(delivery_pb2_grpc.DeliveryServiceServicer):
    """Knows one delivery, and the state that a list was asked for."""

    delivery = delivery_pb2.Delivery(
        campaign_id=2**63 - 1,
        channel=campaign_pb2.CHANNEL_TEXT,
        state=delivery_pb2.DELIVERY_STATE_DEAD,
        external_id='"state":"DELIVERY_STATE_DEAD"',
        attempts=[
            delivery_pb2.Attempt(
                outcome=delivery_pb2.ATTEMPT_OUTCOME_IN_DOUBT,
                provider="CHANNEL_TEXT",
                error='"campaign_id":"44"',
            )
        ],
    )

    async def GetTrigger(self, request: Any, context: Any) -> delivery_pb2.GetTriggerResponse:
        return delivery_pb2.GetTriggerResponse(delivery=self.delivery)

    async def ListTriggers(self, request: Any, context: Any) -> delivery_pb2.ListTriggersResponse:
        await add_rest(request, context)
        found = delivery_pb2.Delivery(state=request.state, external_id=request.external_id)
        return delivery_pb2.ListTriggersResponse(deliveries=[found])


class Keys(api_key_pb2_grpc.ApiKeyServiceServicer):
    """Revokes whatever it is asked to."""

    async def RevokeApiKey(self, request: Any, context: Any) -> api_key_pb2.RevokeApiKeyResponse:
        revoked = api_key_pb2.ApiKey(key_id=request.key_id, campaign_ids=[44, -45])
        return api_key_pb2.RevokeApiKeyResponse(api_key=revoked)


class Campaigns(campaign_pb2_grpc.CampaignServiceServicer):
    """Knows as many campaigns as a page holds."""

    async def ListCampaigns(self, request: Any, context: Any) -> campaign_pb2.ListCampaignsResponse:
        await add_rest(request, context)
        names = [
            campaign_pb2.Campaign(campaign_id=n + 1, display_name="x" * 200) for n in range(request.page_size)
        ]
        return campaign_pb2.ListCampaignsResponse(campaigns=names)


@asynccontextmanager
async def running(address: str, credentials: grpc.ServerCredentials | None = None) -> AsyncIterator[Toy]:
    """Run the server at the address, for example `unix:/path`; with credentials, it accepts TLS only."""
    toy = Toy()
    server = toy.server
    trigger_pb2_grpc.add_TriggerServiceServicer_to_server(toy, server)
    delivery_pb2_grpc.add_DeliveryServiceServicer_to_server(Deliveries(), server)
    campaign_pb2_grpc.add_CampaignServiceServicer_to_server(Campaigns(), server)
    api_key_pb2_grpc.add_ApiKeyServiceServicer_to_server(Keys(), server)
    health_pb2_grpc.add_HealthServicer_to_server(toy.health, server)
    reflection.enable_server_reflection([reflection.SERVICE_NAME, "clarion.v1.TriggerService"], server)
    for service in ("", READY_SERVICE):
        await toy.health.set(service, health_pb2.HealthCheckResponse.SERVING)
    if credentials:
        server.add_secure_port(address, credentials)
    else:
        server.add_insecure_port(address)
    await server.start()
    try:
        yield toy
    finally:
        await toy.stop()
