"""Runs PostgreSQL for root and for users without a name, without widening folder permissions."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError

__all__ = ["Launch", "choose_launch"]

_CLUE = "run Clarion as an ordinary user, or set CLARION_DATABASE_URL"


@dataclass(frozen=True, slots=True)
class Launch:
    """How a program is started.

    Attributes:
        command: The prefix of the command line.
        owner: ID of the user that must own the program's folders, or None to keep their owner.
    """

    command: tuple[str, ...] = ()
    owner: int | None = None

    def hand_over(self, *folders: Path) -> None:
        """Change the owner of Clarion's private folders to the user that the program runs as.

        Raises:
            ConfigError: A folder is not private to Clarion, or that user cannot write to it.
        """
        if self.owner is None:
            return
        for folder in folders:
            if folder.stat().st_uid != self.owner:
                _give(folder, self.owner)
            if subprocess.run([*self.command, "test", "-w", str(folder)], check=False).returncode:
                raise ConfigError(
                    f"PostgreSQL cannot run as root, and the user nobody cannot write to {folder}; {_CLUE}"
                )


def choose_launch(program: Path) -> Launch:
    """Return how to run the program: directly, in a user namespace, or as the user `nobody`.

    In its own user namespace the program sees the user `nobody`, while files on disk keep their owner.
    Containers often forbid user namespaces.

    Raises:
        ConfigError: None of these is possible.
    """
    user = os.geteuid()
    if user != 0 and _has_a_name(user):
        return Launch()
    for launch in _ways_to_be_nobody(user):
        if _works([*launch.command, str(program), "--version"]):
            return launch
    if user != 0:  # only initdb needs a user name, and reports a missing one
        return Launch()
    raise ConfigError(f"PostgreSQL cannot run as root, and root privileges cannot be dropped here; {_CLUE}")


def _has_a_name(user: int) -> bool:
    """Return whether the user has a name; in containers it often has none."""
    try:
        return bool(pwd.getpwuid(user))
    except KeyError:
        return False


def _ways_to_be_nobody(user: int) -> Iterator[Launch]:
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return
    if unshare := shutil.which("unshare"):
        seen = (f"--map-user={nobody.pw_uid}", f"--map-group={nobody.pw_gid}")
        yield Launch((unshare, "--user", *seen, "--"))
    if user == 0 and (setpriv := shutil.which("setpriv")):
        became = (f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups")
        # Changing the user clears the parent death signal that the supervisor has set, so set it again.
        yield Launch((setpriv, *became, "--pdeathsig=QUIT", "--"), nobody.pw_uid)


def _works(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _give(folder: Path, owner: int) -> None:
    """Change the owner of a folder that Clarion created.

    Raises:
        ConfigError: It is not root's with mode 0700, or it is a home directory.
    """
    found = folder.lstat()
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
    if not ours or folder == Path.home():
        raise ConfigError(f"PostgreSQL cannot run as root, and {folder} is not private to Clarion; {_CLUE}")
    for path in (folder, *folder.glob("postgres/**/*"), *folder.glob("postgres")):
        os.chown(path, owner, -1, follow_symlinks=False)
