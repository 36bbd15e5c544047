"""Sends a test of a campaign."""

from __future__ import annotations

from starlette.responses import Response

from clarion.admin.v1 import campaign_draft_pb2 as draft_pb

from ..visit import Page, Visit
from .campaign_fields import AT, SECTION, campaign_key, campaign_of, campaign_path, campaign_section, draft_of

__all__ = ["PAGES"]

_ADDRESSES = {"email": "Email address", "text": "Phone number", "push": "Device token"}


async def send_test(visit: Visit) -> Response:
    """Send one message of a campaign, or of its draft, to an address."""
    key, form = campaign_key(visit), visit.form
    if form.is_sent:
        with form.checked():
            sent: draft_pb.SendCampaignTestResponse = await visit.call(
                draft_pb.SendCampaignTestRequest(
                    **key,
                    address=form["address"],
                    draft=form["content"] == "draft",
                    locale=form["locale"],
                    event=form["event"],
                    user_data=form["user_data"],
                )
            )
            return visit.redirect(f"/deliveries/{sent.trigger_id}", "The test is being sent.")
    found = await campaign_of(visit)
    draft = await draft_of(visit, key)
    form.start(content="draft" if draft else "", event='{"random_field": "value"}', user_data="{}")
    channel = (draft or found).content.campaign_channel
    return visit.page(
        "campaign_test.html",
        f"Send a test of campaign {found.campaign_id}",
        crumbs=[SECTION, campaign_section(visit)],
        contents=[("", f"version {found.version}"), *([("draft", "the draft")] if draft else [])],
        address=_ADDRESSES.get(channel, "Address"),
        path=campaign_path(found),
    )


PAGES = (Page(f"{AT}/test", send_test, has_form=True),)
