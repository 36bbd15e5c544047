"""Applies campaign files to the database, and compares them with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..admin.call import AdminCall
from ..admin.campaign_content import changed_fields, values_of
from ..admin.change import changing
from ..dispatcher.providers.base import Provider
from ..domain.campaign import Campaign
from ..errors import ConfigError
from ..store.admin import campaigns as store
from ..store.admin.projects import ensure_project, find_project
from ..store.pool import Pool, reached
from .campaign_file import read, to_campaigns

__all__ = ["apply_campaign_file", "compare_campaign_file"]

_NO_PROJECT = 0


async def apply_campaign_file(
    pool: Pool,
    path: Path,
    providers: Mapping[str, Provider],
    call: AdminCall,
    *,
    overwrite: bool = False,
) -> tuple[int, dict[int, str]]:
    """Write a file's campaigns to the database, which are then managed by the file.

    Args:
        pool: The database.
        path: The file.
        providers: The configured providers.
        call: The caller that applies it, for the audit log.
        overwrite: Whether to replace campaigns that were changed in the portal or by another file.

    Returns:
        The project's ID, and what happened to each campaign by its ID.

    Raises:
        ConfigError: the file is invalid, or would overwrite changes; nothing is written.
        StoreUnavailable: the database cannot be reached.
    """
    file = read(path)
    checked = to_campaigns(file, _NO_PROJECT, providers)  # an invalid file creates no project
    async with reached():
        project_id = await ensure_project(pool, file.project)
    results: dict[int, str] = {}
    async with changing(pool, call) as change:
        for one in checked:
            wanted = replace(one, project_id=project_id, managed_by=path.name)
            before = await store.find_campaign(change.connection, project_id, one.id, lock=True)
            if before and not overwrite:
                _require_managed(before, wanted)
            results[one.id] = await store.apply_campaign(change.connection, wanted, call.actor.name)
            if results[one.id] != "unchanged":
                await change.record(
                    "campaign.apply",
                    f"campaign/{file.project}/{one.id}",
                    project_id=project_id,
                    before=values_of(before) if before else None,
                    after=values_of(wanted),
                )
    return project_id, results


async def compare_campaign_file(
    pool: Pool, path: Path, providers: Mapping[str, Provider]
) -> dict[int, list[str]]:
    """Return how each campaign of a file differs from the database, by ID: the fields, or `new`.

    Raises:
        ConfigError: the file is invalid.
        StoreUnavailable: the database cannot be reached.
    """
    file = read(path)
    checked = to_campaigns(file, _NO_PROJECT, providers)
    found: dict[int, list[str]] = {}
    async with reached():
        project = await find_project(pool, file.project)
        for one in checked:
            current = await store.find_campaign(pool, project.id, one.id) if project else None
            found[one.id] = changed_fields(current, one) if current else ["new"]
    return found


def _require_managed(current: Campaign, wanted: Campaign) -> None:
    """Check that a campaign was not changed elsewhere. One that an older version applied has no known origin.

    Raises:
        ConfigError: It was, and the file differs from it.
    """
    if current.managed_by in (None, wanted.managed_by) or not changed_fields(current, wanted):
        return
    where = (
        f"is managed by the file {current.managed_by}" if current.managed_by else "was changed in the portal"
    )
    raise ConfigError(
        f"campaign {current.id} {where}; see `clarion campaigns diff FILE`, then apply with --overwrite to"
        " replace it"
    )
