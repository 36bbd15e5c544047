"""Builds the previous release from this repository's history, in its own folder and environment."""

from __future__ import annotations

import fcntl
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .command import log
from .errors import LabError

__all__ = ["COMMIT", "PreviousReleaseMissing", "clean_env", "previous_release", "run_words"]

_ROOT = Path(__file__).parents[1]
COMMIT = (_ROOT / "protos/released/commit").read_text(encoding="ascii").strip()
"""The commit of the last release. CONTRIBUTING.md says when it is renewed."""
_SECONDS = 900.0


class PreviousReleaseMissing(LabError):
    """The history does not contain the commit of the last release."""


def previous_release(data: Path) -> Path:
    """Return the interpreter of the previous release. The first call builds it, which takes about a minute.

    Args:
        data: Where to build it: 600 MB in `previous/COMMIT`, which later calls use again.

    Raises:
        PreviousReleaseMissing: There is no such commit here.
        LabError: The build failed.
    """
    folder = data.absolute() / "previous" / COMMIT[:12]
    folder.mkdir(parents=True, exist_ok=True)
    ready, python = folder / "built", folder / ".venv" / "bin" / "python"
    with _locked(folder.with_suffix(".lock")):
        if not ready.exists():
            log(f"building the previous release, {COMMIT[:12]}, in {folder}")
            _unpack(folder)
            run_words(["make", "--silent", f"PYTHON={sys.executable}", "setup", "proto"], clean_env(), folder)
            ready.touch()
    found = run_words([str(python), "-P", "-c", "import server; print(server.__file__)"], clean_env())
    if Path(found).resolve() != (folder / "server" / "__init__.py").resolve():
        raise LabError(f"{python} imports {found}, which is not the previous release")
    return python


def run_words(words: Sequence[str], env: Mapping[str, str], folder: Path | None = None) -> str:
    """Run a program in a folder, and return what it printed.

    Raises:
        LabError: It failed, or took longer than 15 minutes.
    """
    try:
        done = subprocess.run(
            words, env=env, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"{' '.join(words)} did not end within {_SECONDS:g} s") from None
    if done.returncode:
        text = f"{done.stdout}{done.stderr}".strip()
        raise LabError(f"{' '.join(words)} failed with exit code {done.returncode}: {text[-2000:]}")
    return done.stdout.strip()


def clean_env() -> dict[str, str]:
    """Return the environment without what would lead another checkout's make or Python to this one."""
    left_out = ("MAKE", "MFLAGS", "PYTHON", "VIRTUAL_ENV", "CLARION_")
    return {name: value for name, value in os.environ.items() if not name.startswith(left_out)}


def _unpack(folder: Path) -> None:
    done = subprocess.run(["git", "-C", str(_ROOT), "archive", COMMIT], capture_output=True, check=False)  # noqa: S607
    if done.returncode:
        raise PreviousReleaseMissing(
            f"the previous release, commit {COMMIT[:12]}, is not in this repository's history, of"
            f" which all is needed (git fetch --unshallow): {done.stderr.decode(errors='replace').strip()}"
        )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Build in one process at a time."""
    with file.open("w") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
