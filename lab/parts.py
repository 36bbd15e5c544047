"""What `lab.product` needs to start processes: a prepared database, their command, environment and socket."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from server.admin.client import LocalAdmin
from server.config import load
from server.domain.key import Scope, new_secret
from server.store.admin import keys, projects
from server.store.schema.migrate import migrate
from server.wiring.campaign_file import read
from server.wiring.campaigns import apply_campaign_file
from server.wiring.common import build_providers, opened_pool, with_database
from server.wiring.operators import build_backend

__all__ = ["as_env", "clarion", "prepare", "wait_connectable"]


async def wait_connectable(address: str) -> None:
    """Wait until a process accepts connections on a Unix socket."""
    while True:
        try:
            _, writer = await asyncio.open_unix_connection(address.removeprefix("unix:"))
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return


def as_env(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return settings as the environment variables that `server.config` reads."""
    return dict(_variables("CLARION", settings))


def _variables(prefix: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        variable = f"{prefix}_{name.upper()}"
        if isinstance(value, Mapping):
            yield from _variables(variable, value)
        else:
            yield variable, str(value)


def clarion(*command: str, python: Path = Path(sys.executable)) -> list[str]:
    """Return the words that run a command of the Clarion in the environment of an interpreter."""
    return [str(python), "-P", "-m", "server", *command]


async def prepare(url: str, env: Mapping[str, str], campaigns: Path) -> tuple[int, str]:
    """Create the schema, the project, its campaigns and a key; return the project's ID and the secret."""
    await migrate(url)
    settings = with_database(load(None, env), url)
    secret = new_secret()
    async with opened_pool(settings) as pool:
        admin = LocalAdmin(build_backend(settings, pool))
        await apply_campaign_file(admin, campaigns, build_providers(settings))
        project_id = await projects.ensure_project(pool, read(campaigns).project)
        await keys.create_key(pool, secret, project_id=project_id, name="lab", scopes={Scope.TRIGGER})
    return project_id, secret
