"""CPU time of processes, from /proc (Linux only)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ["CpuMeter"]

_TICK = os.sysconf("SC_CLK_TCK")
# After the name in brackets: state is field 3 of proc(5), so field n has index n - 3.
_PARENT, _TIMES = 1, slice(11, 15)


class CpuMeter:
    """Measures the CPU time that processes use from its creation on."""

    def __init__(self, pids: Mapping[str, Iterable[int]]) -> None:
        """Start measuring.

        Args:
            pids: the IDs of running processes by role.
        """
        self._pids = {role: set(group) for role, group in pids.items()}
        self._before = self._read()

    def used(self) -> dict[str, float]:
        """Return the CPU seconds that each role has used since the start."""
        return {role: now - self._before[role] for role, now in self._read().items()}

    def _read(self) -> dict[str, float]:
        stats = _stats()
        return {role: _seconds(pids, stats) for role, pids in self._pids.items()}


def _seconds(pids: set[int], stats: Mapping[int, tuple[int, int]]) -> float:
    """Return the CPU seconds of processes and all their descendants, including those that have ended.

    Each process's own time and that of its reaped children (utime, stime, cutime, cstime) is summed over
    the living tree, so the time of a PostgreSQL backend counts while it lives and after it has ended.
    """
    tree = set(pids)
    while grown := {pid for pid, (parent, _) in stats.items() if parent in tree} - tree:
        tree |= grown
    return sum(stats[pid][1] for pid in tree if pid in stats) / _TICK


def _stats() -> dict[int, tuple[int, int]]:
    """Return the parent and the clock ticks of every process."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # the process has just ended
                continue
            found[int(folder.name)] = (int(fields[_PARENT]), sum(map(int, fields[_TIMES])))
    return found
