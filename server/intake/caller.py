"""The caller of one call: what it may trigger, and when it called."""

from __future__ import annotations

import datetime as dt

import msgspec

from ..domain.campaign import Campaign
from ..domain.key import ApiKey
from ..domain.placement import Placement, place
from ..domain.ports import Catalog
from ..errors import CampaignForbidden, CampaignNotFound

__all__ = ["Caller"]


class Caller(msgspec.Struct, frozen=True, gc=False):
    """The key, the trace context and the time of one call."""

    catalog: Catalog
    key: ApiKey
    traceparent: str
    """The W3C trace context, or empty."""
    now: dt.datetime

    def campaign(self, campaign_id: int) -> Campaign:
        """Return a campaign that the caller may trigger.

        Raises:
            CampaignForbidden: The key is restricted to others. This is checked first, so that a restricted
                key cannot find out which campaigns its project has.
            CampaignNotFound: The project does not have it, even if another project does.
        """
        campaign = self.catalog.campaign(self.key.project_id, campaign_id)
        if not self.key.may_trigger(campaign_id):
            raise CampaignForbidden(
                f"The API key may not trigger campaign {campaign_id}.",
                metadata={"campaign_id": str(campaign_id)},
            )
        if campaign is None:
            raise CampaignNotFound.of(campaign_id)
        return campaign

    def place(self, campaign: Campaign, timezone: str, send_at: dt.datetime | None) -> Placement:
        """Return the position in the queue of a trigger of the campaign, for a user in this time zone."""
        fallback = self.catalog.project_timezone(campaign.project_id) if campaign.window else ""
        return place(campaign, timezone, fallback, self.now, send_at, test=self.key.test)
