"""Starts a program so that it does not outlive its parent: `launch.py <signal> <parent> <command> …`.

It is a separate program because code that runs between fork and exec is unsafe in a process with threads.
The kernel's parent-death signal (Linux, prctl(2)) survives exec; a change of user clears it. Other systems do
not have one.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

__all__ = ["launcher", "main"]

PR_SET_PDEATHSIG = 1  # prctl(2)


def launcher(death_signal: int) -> tuple[str, ...]:
    """Return what to put before a command so that it gets `death_signal` when this process dies."""
    return (sys.executable, "-I", "-S", __file__, str(int(death_signal)), str(os.getpid()))


def main(arguments: list[str]) -> int:
    """Become the command; return an exit code if that fails."""
    death_signal, parent, *command = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(death_signal))
        if os.getppid() != int(parent):  # it died before the call above
            return 1
    for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored_by_python, signal.SIG_DFL)  # exec would pass "ignored" on
    try:
        os.execvp(command[0], command)  # noqa: S606 -- a list, no shell
    except OSError as error:
        os.write(2, f"cannot start {command[0]}: {error.strerror}\n".encode())
        return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
