"""DeliveryService, CampaignService and ApiKeyService: what can be read and revoked over the wire."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from clarion.v1 import (
    api_key_pb2,
    api_key_pb2_grpc,
    campaign_pb2,
    campaign_pb2_grpc,
    delivery_pb2,
    delivery_pb2_grpc,
)

from ..domain.campaign import Campaign
from ..domain.delivery import Attempt, Delivery
from ..domain.key import ApiKey
from ..domain.limit import Limit, RateLimiter
from ..errors import CampaignNotFound, DeliveryNotFound, KeyNotFound
from .guard import caller
from .ports import Records
from .rest_body import MAX_ID
from .rules import require_valid

__all__ = ["ApiKeyServicer", "CampaignServicer", "DeliveryServicer"]

_DEFAULT_PAGE = 100


class DeliveryServicer(delivery_pb2_grpc.DeliveryServiceServicer):
    """Tells what became of triggers."""

    def __init__(self, records: Records) -> None:
        """Take where deliveries are read."""
        self._records = records

    async def GetDelivery(  # noqa: N802 - gRPC's name
        self, request: delivery_pb2.GetDeliveryRequest, context: Any
    ) -> delivery_pb2.GetDeliveryResponse:
        """Return one delivery of the caller's project."""
        require_valid(request)
        delivery = await self._records.find_delivery(uuid.UUID(request.trigger_id), caller().project_id)
        if delivery is None:
            raise DeliveryNotFound(metadata={"trigger_id": request.trigger_id})
        return delivery_pb2.GetDeliveryResponse(delivery=_delivery(delivery))


class CampaignServicer(campaign_pb2_grpc.CampaignServiceServicer):
    """Shows campaigns."""

    def __init__(self, records: Records) -> None:
        """Take where campaigns are read."""
        self._records = records

    async def GetCampaign(  # noqa: N802 - gRPC's name
        self, request: campaign_pb2.GetCampaignRequest, context: Any
    ) -> campaign_pb2.GetCampaignResponse:
        """Return one campaign of the caller's project."""
        require_valid(request)
        number = int(request.campaign_id)
        found = None
        if number <= MAX_ID:
            found = await self._records.find_campaign(caller().project_id, number)
        if found is None:
            raise CampaignNotFound(metadata={"campaign_id": request.campaign_id})
        return campaign_pb2.GetCampaignResponse(campaign=_campaign(found))

    async def ListCampaigns(  # noqa: N802 - gRPC's name
        self, request: campaign_pb2.ListCampaignsRequest, context: Any
    ) -> campaign_pb2.ListCampaignsResponse:
        """Return a page of the caller's project's campaigns."""
        require_valid(request)
        size = request.page_size or _DEFAULT_PAGE
        after = int(request.page_token or 0)
        found = await self._records.list_campaigns(caller().project_id, after=after, limit=size + 1)
        more = str(found[size - 1].id) if len(found) > size else ""
        page = [_campaign(campaign) for campaign in found[:size]]
        return campaign_pb2.ListCampaignsResponse(campaigns=page, next_page_token=more)


class ApiKeyServicer(api_key_pb2_grpc.ApiKeyServiceServicer):
    """Lists and revokes keys."""

    def __init__(self, records: Records, limits: RateLimiter) -> None:
        """Take where keys are read and changed, and what knows their limits."""
        self._records = records
        self._limits = limits

    async def ListApiKeys(  # noqa: N802 - gRPC's name
        self, request: api_key_pb2.ListApiKeysRequest, context: Any
    ) -> api_key_pb2.ListApiKeysResponse:
        """Return the caller's project's keys."""
        found = await self._records.list_keys(caller().project_id)
        return api_key_pb2.ListApiKeysResponse(api_keys=[self._shown(key) for key in found])

    async def RevokeApiKey(  # noqa: N802 - gRPC's name
        self, request: api_key_pb2.RevokeApiKeyRequest, context: Any
    ) -> api_key_pb2.RevokeApiKeyResponse:
        """Revoke a key of the caller's project."""
        require_valid(request)
        key = await self._records.revoke_key(uuid.UUID(request.key_id), caller().project_id)
        if key is None:
            raise KeyNotFound(metadata={"key_id": request.key_id})
        return api_key_pb2.RevokeApiKeyResponse(api_key=self._shown(key))

    def _shown(self, key: ApiKey) -> api_key_pb2.ApiKey:
        return _api_key(key, self._limits.of_key(key.limit))


def _timestamp(moment: dt.datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def _delivery(delivery: Delivery) -> delivery_pb2.Delivery:
    return delivery_pb2.Delivery(
        trigger_id=str(delivery.trigger_id),
        campaign_id=delivery.campaign_id,
        channel=f"CHANNEL_{delivery.channel.name}",
        external_id=delivery.external_id,
        state=f"DELIVERY_STATE_{delivery.state.name}",
        accept_time=_timestamp(delivery.accepted_at),
        next_attempt_time=_timestamp(delivery.next_attempt_at),
        attempts=[_attempt(attempt) for attempt in delivery.attempts],
        send_at=_timestamp(delivery.send_at),
        cancel_time=_timestamp(delivery.cancelled_at),
    )


def _attempt(attempt: Attempt) -> delivery_pb2.Attempt:
    shown = delivery_pb2.Attempt(
        number=attempt.number,
        provider=attempt.provider,
        outcome=f"ATTEMPT_OUTCOME_{attempt.outcome.name}",
        start_time=_timestamp(attempt.started_at),
        provider_message_id=attempt.provider_message_id,
        error=attempt.error,
    )
    shown.duration.FromMicroseconds(int(attempt.duration * 1_000_000))
    return shown


def _campaign(campaign: Campaign) -> campaign_pb2.Campaign:
    return campaign_pb2.Campaign(
        campaign_id=campaign.id,
        display_name=campaign.name,
        channel=f"CHANNEL_{campaign.channel.name}",
        state=f"CAMPAIGN_STATE_{campaign.state.name}",
        provider=campaign.providers[0],
        providers=campaign.providers,
        locales=sorted(campaign.templates),
    )


def _api_key(key: ApiKey, limit: Limit) -> api_key_pb2.ApiKey:
    return api_key_pb2.ApiKey(
        key_id=str(key.id),
        display_name=key.name,
        scopes=sorted(key.scopes),
        campaign_ids=sorted(key.campaign_ids),
        create_time=_timestamp(key.created_at),
        expire_time=_timestamp(key.expires_at),
        revoke_time=_timestamp(key.revoked_at),
        rate_limit=_rate_limit(limit),
    )


def _rate_limit(limit: Limit) -> api_key_pb2.RateLimit | None:
    if not limit.rate:
        return None
    return api_key_pb2.RateLimit(requests_per_second=limit.rate, burst=limit.burst)
