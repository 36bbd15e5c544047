"""Ends what a killed PostgreSQL left behind, so that the next one can start.

Backends that outlive their postmaster hold its shared memory, and a stale `postmaster.pid` whose number has
been given to another process (usual in containers) is taken for a running PostgreSQL. We hold the folder's
lock, so no PostgreSQL may run in it now.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from ..errors import ConfigError

__all__ = ["end_leftovers"]

_PATIENCE = 3.0  # seconds for an orderly end, and again after SIGKILL


async def end_leftovers(cluster: Path) -> None:
    """End every PostgreSQL process of this cluster, and remove a process file that names a stranger.

    Raises:
        ConfigError: a process cannot be ended.
    """
    for number in (signal.SIGQUIT, signal.SIGKILL):
        if await _end(cluster, number):
            break
    else:
        raise ConfigError(f"processes of an earlier PostgreSQL still use {cluster}: {_owners(cluster)}")
    _forget_stranger(cluster / "postmaster.pid")


async def _end(cluster: Path, number: signal.Signals) -> bool:
    """Send the signal to all owners; return whether they are gone in time."""
    deadline = asyncio.get_running_loop().time() + _PATIENCE
    for pid in _owners(cluster):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
    while _owners(cluster):
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.05)  # they are not our children: nothing tells us of their end
    return True


def _owners(cluster: Path) -> list[int]:
    return _owners_on_linux(cluster) if sys.platform == "linux" else _postmaster_by_ps(cluster)


def _owners_on_linux(cluster: Path) -> list[int]:
    """Each PostgreSQL process works in its cluster's folder."""
    if not cluster.exists():
        return []
    folder = cluster.resolve()
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _is_owner(entry, folder)]


def _is_owner(process: Path, folder: Path) -> bool:
    try:
        program = (process / "exe").readlink().name.removesuffix(" (deleted)")
        return (process / "cwd").readlink() == folder and program == "postgres"
    except OSError:  # it has ended, or is another user's
        return False


def _postmaster_by_ps(cluster: Path) -> list[int]:
    """The postmaster alone; its backends end with it."""
    pid, ps = _noted_pid(cluster / "postmaster.pid"), shutil.which("ps")
    if pid is None or ps is None:
        return []
    shown = subprocess.run([ps, "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, check=False)
    return [pid] if os.fsencode(cluster) in shown.stdout else []


def _noted_pid(file: Path) -> int | None:
    try:
        return int(file.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def _forget_stranger(file: Path) -> None:
    """Remove the file if its process lives, which is no PostgreSQL of this cluster.

    Else PostgreSQL itself sees that the file is stale.
    """
    pid = _noted_pid(file)
    if pid is None:
        return
    with suppress(ProcessLookupError):
        with suppress(PermissionError):
            os.kill(pid, 0)
        file.unlink(missing_ok=True)
