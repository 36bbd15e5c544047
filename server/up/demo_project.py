"""Creates the demo's project, campaigns and keys at the first start of `clarion up --demo`."""

from __future__ import annotations

from pathlib import Path

from clarion.admin.v1 import operator_pb2

from ..admin.client import LocalAdmin
from ..config import Settings
from ..domain.key import Scope, new_secret
from ..domain.operator import Role
from ..store.admin import campaigns, keys, projects
from ..wiring.campaigns import apply_campaign_file
from ..wiring.common import build_providers, opened_pool
from ..wiring.operators import build_backend
from . import demo
from .banner import DEMO_ADMIN_KEY_FILE

__all__ = ["DEMO_KEY_FILE", "prepare_demo"]

DEMO_KEY_FILE = "demo-key"
_SCOPES = {Scope.TRIGGER, Scope.DELIVERIES_READ, Scope.CAMPAIGNS_READ}
_ADMIN_DAYS = 366  # the longest for an admin key


async def prepare_demo(settings: Settings, data: Path) -> str:
    """Create the demo's project, campaigns and keys, or find those of the last start.

    Args:
        settings: The settings, with the database's URL.
        data: The data folder, which gets the keys.

    Returns:
        The secret of the API key.
    """
    secret = _kept(data / DEMO_KEY_FILE)
    if not secret:  # written to disk before it becomes valid
        secret = new_secret()
        _keep(data / DEMO_KEY_FILE, secret)
    async with opened_pool(settings) as pool:
        admin = LocalAdmin(build_backend(settings, pool))
        project_id = await projects.ensure_project(pool, demo.PROJECT)
        if not await campaigns.list_campaigns(pool, project_id, limit=1):
            # Only at the first start: later changes to the demo's campaigns are kept.
            await apply_campaign_file(admin, demo.CAMPAIGNS, build_providers(settings))
        await keys.create_key(
            pool, secret, project_id=project_id, name="demo", scopes=_SCOPES, created_by="clarion up --demo"
        )
        if not _kept(data / DEMO_ADMIN_KEY_FILE):
            _keep(data / DEMO_ADMIN_KEY_FILE, await _create_admin_key(admin))
    return secret


async def _create_admin_key(admin: LocalAdmin) -> str:
    """Create an admin key for the portal; return its secret."""
    request = operator_pb2.CreateAdminKeyRequest(
        display_name="demo", grants=[operator_pb2.Grant(role=Role.ADMIN)], expires_in_days=_ADMIN_DAYS
    )
    made: operator_pb2.CreateAdminKeyResponse = await admin.call("admin_keys", "CreateAdminKey", request)
    return made.secret


def _kept(path: Path) -> str:
    """Return the secret in a file; empty if there is none."""
    return path.read_text().strip() if path.exists() else ""


def _keep(path: Path, secret: str) -> None:
    """Write a secret to a file that only this user can read."""
    path.touch(mode=0o600)
    path.write_text(f"{secret}\n")
