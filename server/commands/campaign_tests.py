"""Defines `clarion campaigns test`."""

from __future__ import annotations

import json

import click

from clarion.admin.v1 import campaign_draft_pb2 as pb

from .messages import show_one
from .preview import json_object
from .remote import Admin
from .which_campaign import of_campaign, project_of

__all__ = ["test"]


@click.command()
@of_campaign
@click.argument("address")
@click.option("--draft", is_flag=True, help="Send the draft instead of the current version.")
@click.option("--locale", default="", help="BCP 47 language tag of the user.")
@click.option("--timezone", default="", help="IANA time zone of the user.")
@click.option("--event", default="{}", metavar="JSON|@FILE", help="Event of the trigger.")
@click.option("--user-data", default="{}", metavar="JSON|@FILE", help="`user.data` of the trigger.")
def test(
    *,
    admin: Admin,
    campaign_id: int,
    address: str,
    project: str,
    draft: bool,
    locale: str,
    timezone: str,
    event: str,
    user_data: str,
    as_json: bool,
) -> None:
    """Send a test of a campaign to ADDRESS.

    It is sent through the campaign's provider. Prints the trigger's ID, with which `clarion deliveries show`
    shows the result.
    """
    request = pb.SendCampaignTestRequest(
        project=project or project_of(admin, campaign_id),
        campaign_id=str(campaign_id),
        address=address,
        draft=draft,
        locale=locale,
        timezone=timezone,
        event=json.dumps(json_object("--event", event)),
        user_data=json.dumps(json_object("--user-data", user_data)),
    )
    sent = admin.call("campaign_drafts", "SendCampaignTest", request)
    show_one(sent, sent.trigger_id, as_json=as_json)
