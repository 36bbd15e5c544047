"""Applying campaign files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .campaign_file import read, to_campaigns
from .dispatch.providers.base import Provider
from .store import campaigns, keys
from .store.pool import Pool, reached

__all__ = ["apply_campaign_file"]


async def apply_campaign_file(
    pool: Pool, path: Path, providers: Mapping[str, Provider]
) -> tuple[int, dict[int, str]]:
    """Write a file's campaigns; return the project's id and what happened to each campaign.

    Raises:
        ConfigError: the file is wrong; nothing is written.
        StoreUnavailable: the database cannot be reached.
    """
    file = read(path)
    to_campaigns(file, 0, providers)  # a wrong file makes no project
    async with reached():
        project_id = await keys.ensure_project(pool, file.project)
        return project_id, await campaigns.apply_campaigns(pool, to_campaigns(file, project_id, providers))
