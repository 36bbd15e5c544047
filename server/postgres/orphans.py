"""Ends processes that a killed PostgreSQL left behind, so that the next one can start.

Backends that outlive their postmaster keep its shared memory. A stale `postmaster.pid` whose process id now
belongs to another process (common in containers) looks like a running PostgreSQL. Clarion holds the
folder's lock, so no PostgreSQL should be running in it.
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

__all__ = ["end_leftovers", "processes_of"]

_LARGEST_PID = 2**31 - 1
_TIMEOUT = 3.0  # seconds after SIGQUIT, and again after SIGKILL


async def end_leftovers(cluster: Path) -> None:
    """End all PostgreSQL processes of this cluster, and remove a process id file that is stale.

    Raises:
        ConfigError: A process cannot be ended.
    """
    for number in (signal.SIGQUIT, signal.SIGKILL):
        if await _end(cluster, number):
            break
    else:
        raise ConfigError(f"processes of an earlier PostgreSQL still use {cluster}: {processes_of(cluster)}")
    _remove_stale_pidfile(cluster / "postmaster.pid")


async def _end(cluster: Path, number: signal.Signals) -> bool:
    """Send the signal to all processes of the cluster; return whether they ended in time."""
    deadline = asyncio.get_running_loop().time() + _TIMEOUT
    for pid in processes_of(cluster):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
    while processes_of(cluster):
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.05)  # not child processes, so their end cannot be awaited
    return True


def processes_of(cluster: Path) -> list[int]:
    """Return the IDs of the PostgreSQL processes that run in a data directory."""
    return _processes_on_linux(cluster) if sys.platform == "linux" else _postmaster_by_ps(cluster)


def _processes_on_linux(cluster: Path) -> list[int]:
    """Return the processes named postgres whose working directory is the cluster."""
    if not cluster.exists():
        return []
    folder = cluster.resolve()
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _belongs_to(entry, folder)]


def _belongs_to(process: Path, folder: Path) -> bool:
    try:
        program = (process / "exe").readlink().name.removesuffix(" (deleted)")
        return (process / "cwd").readlink() == folder and program == "postgres"
    except OSError:  # it has ended, or belongs to another user
        return False


def _postmaster_by_ps(cluster: Path) -> list[int]:
    """Return the postmaster only: its backends end with it."""
    pid, ps = _noted_pid(cluster / "postmaster.pid"), shutil.which("ps")
    if pid is None or ps is None:
        return []
    shown = subprocess.run([ps, "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, check=False)
    return [pid] if os.fsencode(cluster) in shown.stdout else []


def _noted_pid(file: Path) -> int | None:
    try:
        pid = int(file.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None
    return pid if 0 < pid <= _LARGEST_PID else None


def _remove_stale_pidfile(file: Path) -> None:
    """Remove `postmaster.pid` if PostgreSQL would refuse to start because of it.

    That happens if another process has the file's process ID by now, or if the file has no ID, as after a
    full disk or a crash. If no process has the ID, PostgreSQL itself recognises the file as stale.
    """
    pid = _noted_pid(file)
    if pid is None:
        file.unlink(missing_ok=True)
        return
    with suppress(ProcessLookupError):
        with suppress(PermissionError):
            os.kill(pid, 0)
        file.unlink(missing_ok=True)
