"""Starts a program under a unit's filter of system calls, as systemd does: `sandbox.py UNIT COMMAND …`.

It needs no service manager: it reads SystemCallFilter and MemoryDenyWriteExecute from the unit, and loads a
filter by libseccomp. `systemd-analyze` knows which system calls a group such as @system-service has.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

EPERM = 1
ALLOW, DENY = 0x7FFF0000, 0x00050000 | EPERM  # seccomp(2)
MASKED_EQUAL = 7  # SCMP_CMP_MASKED_EQ
PROT_EXEC = 4


class Comparison(ctypes.Structure):
    """`scmp_arg_cmp` of libseccomp."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


def settings(unit: Path, name: str) -> list[str]:
    """Return all values of a setting, in order."""
    lines = unit.read_text(encoding="utf-8").splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(f"{name}=")]


def calls(name: str) -> Iterator[str]:
    """Yield the system calls in a group, or the one that has this name."""
    if not name.startswith("@"):
        yield name
        return
    command = ["systemd-analyze", "--no-pager", "syscall-filter", name]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for line in printed.splitlines()[1:]:
        if line.strip() and not line.strip().startswith("#"):
            yield from calls(line.strip())


def allowed(unit: Path) -> set[str]:
    """Return the system calls that a unit allows."""
    found: set[str] = set()
    for value in settings(unit, "SystemCallFilter"):
        names = {call for one in value.removeprefix("~").split() for call in calls(one)}
        found = found - names if value.startswith("~") else found | names
    return found


def confine(unit: Path) -> None:
    """Confine this process, and all that it starts, as the unit says."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(DENY)))
    no_code = settings(unit, "MemoryDenyWriteExecute") == ["true"]
    for call in sorted(allowed(unit)):
        number = library.seccomp_syscall_resolve_name(call.encode())
        if number < 0:  # a call of other machines
            continue
        if call in {"mprotect", "pkey_mprotect"} and no_code:
            writable = Comparison(2, MASKED_EQUAL, PROT_EXEC, 0)
            library.seccomp_rule_add(context, ctypes.c_uint32(ALLOW), number, 1, writable)
        else:
            library.seccomp_rule_add(context, ctypes.c_uint32(ALLOW), number, 0)
    if library.seccomp_load(context):
        raise OSError("cannot load the filter")


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - no shell
