"""Turns into one child that does not outlive its supervisor: `launch.py <signal> <parent> <command> …`.

A program of its own, because code between fork and exec is not safe in a process that has threads. The
kernel's death signal (Linux, prctl(2)) survives exec, also through `unshare`; a change of user clears it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Become the command; return an exit code if that fails."""
    death_signal, parent, *command = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(death_signal))
        if os.getppid() != int(parent):  # it died before the call above
            return 1
    for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored_by_python, signal.SIG_DFL)  # exec would hand it on
    try:
        os.execvp(command[0], command)  # noqa: S606 -- a list, no shell
    except OSError as error:
        os.write(2, f"cannot start {command[0]}: {error.strerror}\n".encode())
        return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
