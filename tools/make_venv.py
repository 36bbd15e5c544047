"""Make or repair the virtual environment: `python3 tools/make_venv.py [--dev]`, as `make setup` does.

It does nothing if all is up to date. An environment that was interrupted, moved or broken is made again. Only
one process works on it at a time.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
OLDEST = (3, 11)
PIP = ("-m", "pip", "--disable-pip-version-check", "install", "--no-deps")
# Both together take 700 MB, measured on Debian 12 (x86_64); the times depend on the network.
COST = {
    "ready": "about 400 MB of disk and 1 to 3 minutes",
    "ready-dev": "about 300 MB more and 1 to 2 minutes",
}
LOCKS = {"ready": "requirements.lock", "ready-dev": "requirements-dev.lock"}


def main() -> None:
    """Bring the environment up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dev", action="store_true", help="also install what tests and linters need")
    arguments = parser.parse_args()
    with locked():
        problem = fault()
        if problem:
            create(problem)
        for marker in ("ready", "ready-dev")[: 1 + arguments.dev]:
            if is_outdated(marker):
                install(marker)


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Wait until no other process makes the environment."""
    with (ROOT / ".venv.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("waiting for another make that is setting up .venv")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def fault() -> str:
    """Return why the environment has to be made again, or an empty string."""
    settings = VENV / "pyvenv.cfg"
    if not settings.is_file():
        return "is incomplete" if VENV.exists() else "is missing"
    for line in settings.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(" = ")
        if (
            name == "command"
            and Path("/" + value.split(" -m venv ")[-1].partition("/")[2]).resolve() != VENV.resolve()
        ):
            return "was made in another folder"
    if subprocess.run([PYTHON, "-c", "import pip"], capture_output=True, check=False).returncode:
        return "is incomplete or its Python was removed"
    return ""


def create(problem: str) -> None:
    """Make an empty environment."""
    if sys.version_info < OLDEST:
        fail(f"Clarion needs Python 3.11 or newer; {sys.executable} is not. Try: make PYTHON=python3.12")
    if importlib.util.find_spec("ensurepip") is None:
        version = "{}.{}".format(*sys.version_info)
        fail(f"{sys.executable} cannot make a .venv; on Debian: sudo apt install python{version}-venv")
    report(f".venv {problem}: making it")
    shutil.rmtree(VENV, ignore_errors=True)
    if subprocess.run([sys.executable, "-m", "venv", VENV], check=False).returncode:
        fail("could not make .venv; the error is above")


def is_outdated(marker: str) -> bool:
    """Return whether the sources of a marker are newer, or the marker is missing."""
    made = VENV / marker
    sources = [ROOT / LOCKS[marker]] + ([ROOT / "pyproject.toml"] if marker == "ready" else [VENV / "ready"])
    return not made.exists() or any(source.stat().st_mtime > made.stat().st_mtime for source in sources)


def install(marker: str) -> None:
    """Install a lock, and with the first also Clarion, and leave the marker."""
    lock = ROOT / LOCKS[marker]
    total = sum("==" in line for line in lock.read_text(encoding="utf-8").splitlines())
    report(f"installing {total} packages from {lock.name}: {COST[marker]}")
    pip(total, "--require-hashes", "-r", str(lock))
    if marker == "ready":
        pip(0, "--no-build-isolation", "--editable", str(ROOT))
    (VENV / marker).touch()


def pip(total: int, *arguments: str) -> None:
    """Run pip, and report its progress by package."""
    command = [str(PYTHON), *PIP, "--progress-bar", "off", *arguments]
    done = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        for line in process.stdout or ():
            if line.startswith(("Collecting ", "Requirement already satisfied: ")):
                done += 1
                if total and (done % 10 == 0 or done == total):
                    report(f"  downloaded {done} of {total}")
            elif line.startswith("Installing collected"):
                report("  unpacking")
    if process.returncode:
        fail("pip failed; its errors are above. Run make again to continue")


def report(text: str) -> None:
    """Print progress."""
    print(text, flush=True)


def fail(text: str) -> None:
    """Print an error and exit with 2."""
    print(text, file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
