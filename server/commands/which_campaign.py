"""How commands name a campaign: by its ID and, if several projects have one with this ID, its project."""

from __future__ import annotations

import click

from clarion.admin.v1 import campaign_pb2 as pb

from ..errors import ConfigError
from .remote import Admin

__all__ = ["CAMPAIGN_ID", "project_of", "project_option"]

CAMPAIGN_ID = click.IntRange(1, 2**63 - 1)
project_option = click.option(
    "--project", default="", help="The campaign's project, if several projects have a campaign with this ID."
)


def project_of(admin: Admin, campaign_id: int) -> str:
    """Return the name of the only project that has a campaign with this ID.

    Raises:
        ConfigError: None has one, or several have.
    """
    request = pb.ListCampaignsRequest(campaign_id=str(campaign_id))
    found = admin.collect("campaigns", "ListCampaigns", request)
    names: list[str] = sorted(one.project for one in found)
    if not names:
        raise ConfigError(f"there is no campaign {campaign_id}; `clarion campaigns list` shows them")
    if len(names) > 1:
        raise ConfigError(
            f"several projects have a campaign {campaign_id}; add --project, one of {', '.join(names)}"
        )
    return names[0]
