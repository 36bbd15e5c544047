"""How commands name a campaign: by its ID and, if several projects have one with this ID, its project."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from clarion.admin.v1 import campaign_pb2 as pb

from ..errors import ConfigError
from .common import json_option, missing
from .remote import Admin, admin_options

__all__ = ["CAMPAIGN_ID", "of_campaign", "project_of", "project_option"]

F = TypeVar("F", bound=Callable[..., Any])

CAMPAIGN_ID = click.IntRange(1, 2**63 - 1)
project_option = click.option(
    "--project", default="", help="The campaign's project, if several projects have a campaign with this ID."
)


def of_campaign(command: F) -> F:
    """Add what every command about one campaign accepts: its ID, the project, and the options for all."""
    for add in (admin_options, json_option, project_option, click.argument("campaign_id", type=CAMPAIGN_ID)):
        command = add(command)
    return command


def project_of(admin: Admin, campaign_id: int) -> str:
    """Return the name of the only project that has a campaign with this ID.

    Raises:
        ConfigError: None has one, or several have.
    """
    request = pb.ListCampaignsRequest(campaign_id=str(campaign_id))
    found = admin.collect("campaigns", "ListCampaigns", request)
    names: list[str] = sorted(one.project for one in found)
    if not names:
        raise ConfigError(missing("campaign", str(campaign_id), "clarion campaigns list"))
    if len(names) > 1:
        raise ConfigError(
            f"several projects have a campaign {campaign_id}; add --project, one of {', '.join(names)}"
        )
    return names[0]
