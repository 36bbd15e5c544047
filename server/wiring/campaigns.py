"""Applies campaign files to the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..dispatcher.providers.base import Provider
from ..store.admin import campaigns, projects
from ..store.pool import Pool, reached
from .campaign_file import read, to_campaigns

__all__ = ["apply_campaign_file"]

_NO_PROJECT = 0


async def apply_campaign_file(
    pool: Pool, path: Path, providers: Mapping[str, Provider]
) -> tuple[int, dict[int, str]]:
    """Write a file's campaigns to the database.

    Returns:
        The project's ID, and what happened to each campaign by its ID.

    Raises:
        ConfigError: the file is invalid; nothing is written.
        StoreUnavailable: the database cannot be reached.
    """
    file = read(path)
    checked = to_campaigns(file, _NO_PROJECT, providers)  # an invalid file creates no project
    async with reached():
        project_id = await projects.ensure_project(pool, file.project)
        found = [replace(campaign, project_id=project_id) for campaign in checked]
        return project_id, await campaigns.apply_campaigns(pool, found)
