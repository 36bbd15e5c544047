"""`clarion people`."""

from __future__ import annotations

from typing import Any

import click

from clarion.admin.v1 import person_pb2 as pb

from ..errors import ConfigError
from .common import run, show_json, with_options
from .messages import as_data
from .remote import Admin, admin_options

__all__ = ["people"]

_SERVICE = "people"

_named = with_options(
    click.option("--project", required=True, help="Name of the project."),
    click.option("--external-id", help="Your own ID for the person."),
    click.option("--address", help="Email address, phone number or device token of the person."),
)
"""The options that name a person."""


@click.group()
def people() -> None:
    """Answer requests of people about their data."""


@people.command()
@_named
@admin_options
def export(*, admin: Admin, **named: Any) -> None:
    """Print as JSON what a project has about a person.

    Give --external-id, --address or both: deliveries that match either are exported, with their content,
    attempts and webhook messages, and the suppressions of the person's addresses.
    """
    _require_person(named)
    request = pb.ExportPersonRequest(**named)

    async def work() -> pb.ExportPersonResponse:
        found = pb.ExportPersonResponse()
        async with admin.opened() as client:
            while True:
                page = await client.call(_SERVICE, "ExportPerson", request)
                found.MergeFrom(page)
                request.page_token = page.next_page_token
                if not page.next_page_token:
                    return found

    data = as_data(run(work()))
    show_json({name: data[name] for name in ("deliveries", "suppressions")})


def _require_person(named: dict[str, Any]) -> None:
    if not named["external_id"] and not named["address"]:
        raise ConfigError("give --external-id, --address or both")
