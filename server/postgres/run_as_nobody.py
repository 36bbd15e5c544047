"""How PostgreSQL runs although it refuses root and users without a name, without opening up any folder."""

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
    """What stands before the program, and the user that then needs to own its folders (None: they stay)."""

    command: tuple[str, ...] = ()
    owner: int | None = None

    def hand_over(self, *folders: Path) -> None:
        """Give private folders of ours to the user that the program runs as.

        Raises:
            ConfigError: a folder is not a private one of ours, or a folder above is closed to that user.
        """
        if self.owner is None:
            return
        for folder in folders:
            if folder.stat().st_uid != self.owner:
                _give(folder, self.owner)
            if subprocess.run([*self.command, "test", "-w", str(folder)], check=False).returncode:
                raise ConfigError(
                    f"PostgreSQL may not run as root, and {folder} is closed to others; {_CLUE}"
                )


def choose_launch(program: Path) -> Launch:
    """Return how to run the program: as it is, in a user namespace, or as the user `nobody`.

    In a user namespace of its own the program sees the user `nobody`, while on disk all stays ours;
    containers often forbid that.

    Raises:
        ConfigError: none of the ways is open; one line.
    """
    user = os.geteuid()
    if user != 0 and _has_a_name(user):
        return Launch()
    for launch in _ways_to_be_nobody(user):
        if _works([*launch.command, str(program), "--version"]):
            return launch
    if user != 0:  # only initdb insists on a name: it says so, and a cluster that is there will run
        return Launch()
    raise ConfigError(f"PostgreSQL may not run as root, and its rights cannot be dropped here; {_CLUE}")


def _has_a_name(user: int) -> bool:
    """Tell whether the user is known; in containers it often is not."""
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
        # The change of user clears the death signal that the supervisor asked for.
        yield Launch((setpriv, *became, "--pdeathsig=QUIT", "--"), nobody.pw_uid)


def _works(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _give(folder: Path, owner: int) -> None:
    """Change the owner of a folder that Clarion made: 0700, root's, and not somebody's home."""
    found = folder.lstat()
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
    if not ours or folder == Path.home():
        raise ConfigError(f"PostgreSQL may not run as root, and {folder} is not Clarion's alone; {_CLUE}")
    for path in (folder, *folder.glob("postgres/**/*"), *folder.glob("postgres")):
        os.chown(path, owner, -1, follow_symlinks=False)
