"""`clarion campaigns`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from ..domain.campaign import Campaign
from ..errors import ConfigError
from ..store.admin import campaigns as store
from ..store.admin.projects import project_names
from ..store.pool import reached
from ..store.replication import changed
from .common import Invocation, json_option, run, show_json, table
from .common import as_json as to_json
from .preview import preview

__all__ = ["campaigns"]


@click.group()
def campaigns() -> None:
    """Apply, list, show and preview campaigns."""


campaigns.add_command(preview)


@campaigns.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@click.pass_obj
def apply(invocation: Invocation, *, file: Path, as_json: bool) -> None:
    """Write the campaigns of a YAML or TOML FILE to the database; if one is invalid, write none."""
    from ..wiring.campaigns import apply_campaign_file  # noqa: PLC0415
    from ..wiring.common import build_providers  # noqa: PLC0415 - see server/cli.py

    providers = build_providers(invocation.settings())

    async def work() -> dict[int, str]:
        async with invocation.database() as pool, changed(pool):
            return (await apply_campaign_file(pool, file, providers))[1]

    results = run(work())
    if as_json:
        show_json(results)
    else:
        table([{"CAMPAIGN": number, "RESULT": result} for number, result in results.items()], "campaigns")


@campaigns.command(name="list")
@json_option
@click.pass_obj
def list_campaigns(invocation: Invocation, *, as_json: bool) -> None:
    """List campaigns."""
    found, projects = run(_list(invocation))
    if as_json:
        show_json([{**to_json(one), "project": projects[one.project_id]} for one in found])
        return
    table(
        [
            {
                "ID": one.id,
                "NAME": one.name,
                "PROJECT": projects[one.project_id],
                "CHANNEL": one.channel,
                "STATE": one.state,
                "PROVIDERS": ",".join(one.providers),
                "LOCALES": ",".join(sorted(one.templates)),
            }
            for one in found
        ],
        "campaigns",
    )


@campaigns.command()
@click.argument("campaign_id", type=int)
@click.pass_obj
def show(invocation: Invocation, *, campaign_id: int) -> None:
    """Show a campaign and its templates as JSON."""
    found = [one for one in run(_list(invocation))[0] if one.id == campaign_id]
    if not found:
        raise ConfigError(f"there is no campaign {campaign_id}; `clarion campaigns list` shows them")
    show_json(found[0] if len(found) == 1 else found)


async def _list(invocation: Invocation) -> tuple[list[Campaign], Mapping[int, str]]:
    """Return all campaigns, and the names of the projects by ID."""
    async with invocation.database() as pool, reached(), pool.acquire() as connection:
        found = await store.all_campaigns(connection, templates=True)
        return sorted(found, key=lambda one: (one.project_id, one.id)), await project_names(connection)
