"""Private folders for Envoy's files. Those of killed processes are removed."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .shared_memory import remove_memory

__all__ = ["private_folder", "remove_abandoned"]

_PREFIX = "clarion-gateway-"
_LOCK = "lock"


@contextmanager
def private_folder() -> Iterator[Path]:
    """Make a folder for the block, after removing those that killed processes of this user left behind.

    It is locked until its process ends, in whatever way.
    """
    parent = Path(tempfile.gettempdir())
    remove_abandoned(parent)
    folder, lock = _locked_folder(parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def remove_abandoned(parent: Path) -> None:
    """Remove the folders of ended processes of this user, and the shared memory of their Envoys."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another process removes it, or it belongs to a running one
            found = folder.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
                _remove(folder)


def _remove(folder: Path) -> None:
    lock = _lock(folder)
    try:
        remove_memory(folder)
        shutil.rmtree(folder)
    finally:
        os.close(lock)


def _locked_folder(parent: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        try:
            return folder, _lock(folder)
        except OSError:
            if folder.exists():  # otherwise another process took it for an abandoned one
                raise


def _lock(folder: Path) -> int:
    """Lock a folder and return the open lock file.

    Raises:
        OSError: Another process has locked it, or it does not exist.
    """
    lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock
