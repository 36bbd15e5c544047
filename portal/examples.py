"""Examples of triggers, which work as they are."""

from __future__ import annotations

import json
from collections.abc import Sequence

from clarion.admin.v1 import campaign_pb2 as pb

from .visit import Visit

__all__ = ["active_campaigns", "example_body"]

_LISTED = 100
_RECIPIENTS = {
    "email": ("email", "delivered@clarion.test"),
    "text": ("phone", "+12025550100"),
    "push": ("device_token", "clarion-test-delivered"),
}
"""The field of each channel's address, and a test recipient, whom no message reaches."""


async def active_campaigns(visit: Visit, project: str) -> Sequence[pb.Campaign]:
    """Return the first active campaigns of a project, or of all that the person may see if it is empty."""
    if not visit.has_role("viewer", project):
        return []
    request = pb.ListCampaignsRequest(project=project, campaign_state="active", page_size=_LISTED)
    found: pb.ListCampaignsResponse = await visit.call(request)
    return found.campaigns


def example_body(campaign: pb.Campaign | None) -> str:
    """Return the body of a trigger that a campaign accepts; for email, if the campaign is unknown."""
    field, recipient = _RECIPIENTS[campaign.content.campaign_channel if campaign else "email"]
    user = {"external_id": "EXTERNAL_ID", field: recipient, "timezone": "America/Chicago", "locale": "en"}
    return json.dumps({"user": user, "event": {"random_field": "value"}}, indent=2)
