"""CPU time of processes, from /proc (Linux only)."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cpu_seconds"]

_TICK = os.sysconf("SC_CLK_TCK")
# After the name in brackets: state is field 3 of proc(5), so field n is at n - 3.
_PARENT, _TIMES = 1, slice(11, 15)


def cpu_seconds(pids: list[int]) -> float:
    """Return the CPU seconds that these processes and all their descendants have used, dead ones too.

    Each process's own time and that of its reaped children (utime, stime, cutime, cstime) is summed over
    the living tree: the time of a PostgreSQL backend counts while it lives and after it has ended.
    """
    stats = _stats()
    wanted = set(pids)
    while grown := {pid for pid, (parent, _) in stats.items() if parent in wanted} - wanted:
        wanted |= grown
    return sum(stats[pid][1] for pid in wanted if pid in stats) / _TICK


def _stats() -> dict[int, tuple[int, int]]:
    """Return parent and ticks of every process."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            found[int(folder.name)] = (int(fields[_PARENT]), sum(map(int, fields[_TIMES])))
    return found
