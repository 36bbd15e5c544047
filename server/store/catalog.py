"""An in-memory snapshot of keys, campaigns, projects and endpoints, refreshed when they change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import structlog

from ..domain.campaign import Campaign
from ..domain.key import ApiKey
from ..domain.limit import NO_OWN_LIMIT, OwnLimit
from ..domain.project import Project
from ..domain.webhook import Target
from ..errors import StoreUnavailable
from .admin import campaigns, keys, projects
from .admin import endpoints as webhooks
from .pool import Pool, reached
from .sql import load

__all__ = ["Catalog"]

log = structlog.get_logger(__name__)

_VERSION = load("catalog.sql")["version"]


@dataclass(frozen=True, slots=True)
class _Snapshot:
    version: int = 0
    keys: Mapping[bytes, ApiKey] = field(default_factory=dict)
    keys_by_certificate: Mapping[str, ApiKey] = field(default_factory=dict)
    campaigns: Mapping[tuple[int, int], Campaign] = field(default_factory=dict)
    lanes_by_campaign: Mapping[tuple[int, int], str] = field(default_factory=dict)
    lanes: frozenset[str] = frozenset()
    projects: Mapping[int, Project] = field(default_factory=dict)
    webhooks: Mapping[str, Target] = field(default_factory=dict)


class Catalog:
    """A snapshot of all keys and campaigns, reloaded when they change.

    While the database cannot be reached, the snapshot is used for `max_age` seconds. After that, look-ups
    raise StoreUnavailable, because a key may have been revoked meanwhile.

    Args:
        pool: The database.
        interval: Seconds between checks for changes.
        max_age: Seconds since the last successful check after which the snapshot is not used.
        templates: Whether to load the campaigns' templates.
        endpoints: Whether to load the webhook endpoints.
    """

    def __init__(
        self, pool: Pool, *, interval: float, max_age: float, templates: bool, endpoints: bool = False
    ) -> None:
        self._pool = pool
        self._interval = interval
        self._max_age = max_age
        self._templates = templates
        self._endpoints = endpoints
        self._snapshot = _Snapshot()
        self._fresh_at = float("-inf")
        self._refreshing = asyncio.Lock()

    def key(self, secret_hash: bytes) -> ApiKey | None:
        """Return the key whose secret has this SHA-256, even if it has expired or was revoked.

        Raises:
            StoreUnavailable: The snapshot is too old.
        """
        return self._current().keys.get(secret_hash)

    def key_of_certificate(self, identities: Iterable[str]) -> ApiKey | None:
        """Return the key to which the first of these identities is attached that any key has.

        Raises:
            StoreUnavailable: The snapshot is too old.
        """
        known = self._current().keys_by_certificate
        return next((known[one] for one in identities if one in known), None)

    def campaign(self, project_id: int, campaign_id: int) -> Campaign | None:
        """Return the project's campaign.

        Raises:
            StoreUnavailable: The snapshot is too old.
        """
        return self._current().campaigns.get((project_id, campaign_id))

    async def newest_campaign(self, project_id: int, campaign_id: int) -> Campaign | None:
        """Return the project's campaign, even if it is newer than the snapshot.

        A server with a newer snapshot may have accepted a trigger for it already.

        Raises:
            StoreUnavailable: The snapshot is too old, or reloading it failed.
        """
        found = self.campaign(project_id, campaign_id)
        if found is None:
            await self.refresh()
            found = self.campaign(project_id, campaign_id)
        return found

    async def current_campaign(self, project_id: int, campaign_id: int) -> Campaign | None:
        """Return the project's campaign as it was when this was called, or later.

        Calls at the same time share a check for changes.

        Raises:
            StoreUnavailable: The check failed.
        """
        called_at = time.monotonic()
        async with self._refreshing:
            if self._fresh_at < called_at:
                await self.refresh()
        return self.campaign(project_id, campaign_id)

    def project_limit(self, project_id: int) -> OwnLimit:
        """Return the project's own limit."""
        project = self._snapshot.projects.get(project_id)
        return project.limit if project else NO_OWN_LIMIT

    def project_timezone(self, project_id: int) -> str:
        """Return the IANA time zone for users whose time zone is unknown."""
        project = self._snapshot.projects.get(project_id)
        return project.timezone if project else "UTC"

    @property
    def lanes(self) -> frozenset[str]:
        """The lanes of all campaigns, even from an old snapshot: a claim checks the campaign again."""
        return self._snapshot.lanes

    @property
    def lanes_by_campaign(self) -> Mapping[tuple[int, int], str]:
        """The lane of each campaign, by project and campaign ID. Each snapshot has its own mapping."""
        return self._snapshot.lanes_by_campaign

    @property
    def webhooks(self) -> Mapping[str, Target]:
        """The active webhook endpoints by id, even from an old snapshot."""
        return self._snapshot.webhooks

    @property
    def age(self) -> float:
        """Seconds since the last successful check for changes."""
        return time.monotonic() - self._fresh_at

    @property
    def is_fresh(self) -> bool:
        """Whether the snapshot is recent enough for look-ups."""
        return self.age <= self._max_age

    async def refresh(self) -> None:
        """Check for changes once, and load them.

        Raises:
            StoreUnavailable: The database cannot be reached.
        """
        started_at = time.monotonic()
        async with reached(), asyncio.timeout(self._max_age):
            version = await self._pool.fetchval(*_VERSION())
            if version != self._snapshot.version:
                self._snapshot = await self._load()
                log.info("catalog loaded", version=self._snapshot.version, keys=len(self._snapshot.keys))
        self._fresh_at = started_at

    async def run(self) -> None:
        """Refresh until cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.refresh()
            except Exception as error:  # look-ups fail once the snapshot is too old
                unexpected = None if isinstance(error, StoreUnavailable) else error
                log.warning("catalog not refreshed", age_s=round(self.age, 1), exc_info=unexpected)

    async def _load(self) -> _Snapshot:
        async with self._pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
            version = await connection.fetchval(*_VERSION())
            by_hash = await keys.all_by_hash(connection)
            found = await campaigns.all_campaigns(connection, templates=self._templates)
            by_id = await projects.all_projects(connection)
            targets = await webhooks.active_targets(connection) if self._endpoints else {}
        lanes = {(one.project_id, one.id): one.lane for one in found}
        return _Snapshot(
            version=version,
            keys=by_hash,
            keys_by_certificate={one: key for key in by_hash.values() for one in key.certificates},
            campaigns={(c.project_id, c.id): c for c in found},
            lanes_by_campaign=lanes,
            lanes=frozenset(lanes.values()) | _test_lanes(found, by_hash.values()),
            projects=by_id,
            webhooks=targets,
        )

    def _current(self) -> _Snapshot:
        if not self.is_fresh:
            raise StoreUnavailable
        return self._snapshot


def _test_lanes(found: Iterable[Campaign], known: Iterable[ApiKey]) -> frozenset[str]:
    """Return the lanes of tests in projects with a test key, so that tests are claimed at once."""
    tested = {key.project_id for key in known if key.test and key.revoked_at is None}
    return frozenset(one.lane_for(test=True) for one in found if one.project_id in tested)
