"""CampaignService and ApiKeyService: read campaigns, list and revoke API keys."""

from __future__ import annotations

import uuid

from clarion.v1 import (
    api_key_pb2,
    api_key_pb2_grpc,
    campaign_pb2,
    campaign_pb2_grpc,
)

from ..domain.campaign import Campaign
from ..domain.key import ApiKey
from ..domain.limit import Limit, RateLimiter
from ..domain.ports import Records
from ..errors import CampaignNotFound
from ..intake.contract import MAX_CAMPAIGN_ID
from ..intake.rules import require_valid
from .access_log import log_change
from .call import Call
from .proto_messages import timestamp

__all__ = ["ApiKeyServicer", "CampaignServicer"]

_DEFAULT_PAGE = 100


class CampaignServicer(campaign_pb2_grpc.CampaignServiceServicer):
    """Returns campaigns."""

    def __init__(self, records: Records) -> None:
        """Create the service.

        Args:
            records: Reads campaigns.
        """
        self._records = records

    async def GetCampaign(  # noqa: N802 - gRPC's name
        self, request: campaign_pb2.GetCampaignRequest, call: Call
    ) -> campaign_pb2.GetCampaignResponse:
        """Return one campaign of the caller's project."""
        require_valid(request)
        number = int(request.campaign_id)
        campaign = None
        if number <= MAX_CAMPAIGN_ID:
            campaign = await self._records.find_campaign(call.project_id, number)
        if campaign is None:
            raise CampaignNotFound.of(request.campaign_id)
        return campaign_pb2.GetCampaignResponse(campaign=_campaign(campaign))

    async def ListCampaigns(  # noqa: N802 - gRPC's name
        self, request: campaign_pb2.ListCampaignsRequest, call: Call
    ) -> campaign_pb2.ListCampaignsResponse:
        """Return a page of the caller's project's campaigns."""
        require_valid(request)
        size = request.page_size or _DEFAULT_PAGE
        after = int(request.page_token or 0)
        campaigns = await self._records.list_campaigns(call.project_id, after=after, limit=size + 1)
        next_page = str(campaigns[size - 1].id) if len(campaigns) > size else ""
        page = [_campaign(campaign) for campaign in campaigns[:size]]
        return campaign_pb2.ListCampaignsResponse(campaigns=page, next_page_token=next_page)


class ApiKeyServicer(api_key_pb2_grpc.ApiKeyServiceServicer):
    """Lists and revokes API keys."""

    def __init__(self, records: Records, limits: RateLimiter) -> None:
        """Create the service.

        Args:
            records: Reads and revokes keys.
            limits: The default limits, for keys without their own.
        """
        self._records = records
        self._limits = limits

    async def ListApiKeys(  # noqa: N802 - gRPC's name
        self, request: api_key_pb2.ListApiKeysRequest, call: Call
    ) -> api_key_pb2.ListApiKeysResponse:
        """Return the caller's project's keys."""
        keys = await self._records.list_keys(call.project_id)
        return api_key_pb2.ListApiKeysResponse(api_keys=[self._message(key) for key in keys])

    async def RevokeApiKey(  # noqa: N802 - gRPC's name
        self, request: api_key_pb2.RevokeApiKeyRequest, call: Call
    ) -> api_key_pb2.RevokeApiKeyResponse:
        """Revoke a key of the caller's project."""
        require_valid(request)
        key = await self._records.revoke_key(uuid.UUID(request.key_id), call.project_id)
        log_change("key revoked", call, key_id=str(key.id))
        return api_key_pb2.RevokeApiKeyResponse(api_key=self._message(key))

    def _message(self, key: ApiKey) -> api_key_pb2.ApiKey:
        return _api_key(key, self._limits.of_key(key.limit))


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
        create_time=timestamp(key.created_at),
        expire_time=timestamp(key.expires_at),
        revoke_time=timestamp(key.revoked_at),
        rate_limit=_rate_limit(limit),
        test=key.test,
    )


def _rate_limit(limit: Limit) -> api_key_pb2.RateLimit | None:
    if not limit.rate:
        return None
    return api_key_pb2.RateLimit(requests_per_second=limit.rate, burst=limit.burst)
