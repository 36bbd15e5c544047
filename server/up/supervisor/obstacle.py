"""Finds what a dead child has to wait for: free disk space, or the database."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from ...errors import DATABASE_AWAY

__all__ = ["find_obstacle"]

_NEEDED_MIB = 32
"""Free space below which PostgreSQL cannot add two files of 16 MiB each to its write-ahead log."""
_FULL = re.compile("No space left on device|Disk quota exceeded")


def find_obstacle(report: str, data: Path) -> str | None:
    """Return what a dead child has to wait for, or None if the cause is the child itself.

    Args:
        report: How it ended, and its last lines.
        data: A folder on the disk that the children write to.
    """
    free = _free_mib(data)
    if _FULL.search(report) or free < _NEEDED_MIB:
        return f"the disk of {data} is full ({free} MiB free); waiting for space"
    if DATABASE_AWAY in report:
        return f"{DATABASE_AWAY}; waiting for it"
    return None


def _free_mib(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free >> 20
    except OSError:  # the disk itself is not available
        return 0
