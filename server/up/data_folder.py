"""Locks the data folder of `clarion up`, and finds a folder in which socket paths are short enough."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import ConfigError

__all__ = ["RunDir", "sockets_folder"]

LONGEST_SOCKET_PATH = 100
"""Bytes. The limits of socket paths are 107 on Linux and 103 on macOS."""

_LONGEST_NAME = max((".s.PGSQL.5432.lock", "envoy-admin.sock", "server-99.sock"), key=len)
# asyncpg reads a comma in a path as a separator of hosts, and PostgreSQL, gRPC and Envoy each need different
# quoting for quotes, spaces and percent signs. Folders with such names use the short folder for sockets.
_PLAIN = re.compile(r"[A-Za-z0-9._/+~-]+")


class RunDir:
    """A data folder that this process locks until `close`, or until it ends.

    Attributes:
        data: the folder, absolute.
        sockets: a private folder for sockets, `<data>/run` or a shorter one in the system's temporary folder.
        log: folder for the children's output.

    Raises:
        ConfigError: the folder cannot be written, or another process has locked it; one line.
    """

    def __init__(self, data: Path) -> None:
        self.data = data.absolute()
        self.log = self.data / "log"
        self._lock = _lock(self.data)
        try:
            self.sockets = sockets_folder(self.data)
            _remove_sockets(self.sockets)
        except BaseException:
            os.close(self._lock)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def socket(self, name: str) -> Path:
        """Return the path for a socket; its name may have up to 18 characters."""
        return self.sockets / name

    def close(self) -> None:
        """Remove the sockets and their folder, and unlock the data folder. May be called twice."""
        if self._lock < 0:
            return
        _remove_sockets(self.sockets)
        with suppress(OSError):  # it contains files of another program
            self.sockets.rmdir()
        os.close(self._lock)
        self._lock = -1


def _lock(data: Path) -> int:
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Never remove the file: otherwise two processes could lock two different files.
        lock = os.open(data / "clarion.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ConfigError(f"cannot write to the data folder {data}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with suppress(OSError):  # the disk may be full; the ID is only for the error of a second start
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        problem = _why_not_locked(data, lock, error)
        os.close(lock)
        raise ConfigError(problem) from error
    return lock


def _why_not_locked(data: Path, lock: int, error: OSError) -> str:
    if not isinstance(error, BlockingIOError):
        return f"cannot lock the data folder {data}: {error.strerror}"
    holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
    return f"Clarion is already running in {data} (process {holder}); stop it, or set data_dir"


def sockets_folder(data: Path) -> Path:
    """Return the folder for sockets of a data folder; create it if it is missing.

    Raises:
        ConfigError: the data folder does not exist, or other users can access the sockets; one line.
    """
    data = data.absolute()
    owners = {os.geteuid(), _owner(data)}
    near = data / "run"
    if _fits(near):
        return _private(near, owners)
    name = f"clarion-{os.geteuid()}-{hashlib.sha256(os.fsencode(data)).hexdigest()[:12]}"
    for temp in dict.fromkeys((Path(tempfile.gettempdir()), Path("/tmp"))):  # noqa: S108 -- checked by _private
        if _fits(temp / name):
            return _private(temp / name, owners)
    raise ConfigError(f"socket paths in {data} are too long; set data_dir or TMPDIR to a shorter path")


def _owner(data: Path) -> int:
    try:
        return data.stat().st_uid
    except OSError as error:
        raise ConfigError(f"cannot read the data folder {data}: {error.strerror}") from error


def _fits(folder: Path) -> bool:
    longest = folder / _LONGEST_NAME
    return len(os.fsencode(longest)) <= LONGEST_SOCKET_PATH and _PLAIN.fullmatch(str(longest)) is not None


def _private(folder: Path, owners: set[int]) -> Path:
    """Create the folder, or check that only its owner can access an existing one.

    Another user could have created it in the temporary folder, and PostgreSQL trusts every process that can
    connect to its socket.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise ConfigError(f"cannot create the folder for sockets {folder}: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners or found.st_mode & 0o077:
        raise ConfigError(f"{folder} must belong to this user and have mode 0700; remove it and start again")
    return folder


def _remove_sockets(folder: Path) -> None:
    with suppress(FileNotFoundError):
        for entry in list(folder.iterdir()):
            if entry.is_socket() or entry.name.endswith(".lock"):
                entry.unlink(missing_ok=True)
