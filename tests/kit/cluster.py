"""A migrated database cluster that tests copy: creating one takes most of the time of starting a stack."""

from __future__ import annotations

import asyncio
import fcntl
from pathlib import Path

from server.postgres.embedded import EmbeddedPostgres
from server.store.schema.migrate import migrate
from server.up.data_folder import RunDir

__all__ = ["copy_cluster", "share_clusters"]

_folder: Path | None = None


def share_clusters(folder: Path) -> None:
    """Name the folder in which all workers of a test run keep the cluster to copy."""
    global _folder  # noqa: PLW0603 - one per process, set before the first test
    _folder = folder


async def copy_cluster(data: Path) -> None:
    """Put a cluster with the current schema and no rows into a new data folder."""
    source = await asyncio.to_thread(_created)
    await asyncio.to_thread(data.mkdir, mode=0o700, parents=True, exist_ok=True)
    # With owner and mode: PostgreSQL may run as another user than the tests.
    copying = await asyncio.create_subprocess_exec("cp", "-a", str(source), str(data / "postgres"))
    assert await copying.wait() == 0


def _created() -> Path:
    """Return the cluster; the first worker creates it while the others wait."""
    assert _folder, "call share_clusters first"
    cluster = _folder / "cluster"
    with (_folder / "cluster.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not cluster.exists():
            with RunDir(_folder / "cluster.new") as run:
                asyncio.run(_create(run)).rename(cluster)
    return cluster


async def _create(run: RunDir) -> Path:
    postgres = EmbeddedPostgres(run.data, run.sockets)
    async with postgres.running() as url:
        await migrate(url)
    return postgres.cluster
