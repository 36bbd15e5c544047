"""Processes that are not our children."""

from __future__ import annotations

import os
import select

__all__ = ["is_gone"]


def is_gone(pid: int, limit: float = 10) -> bool:
    """Wait for the end of a process that is not ours; one that only awaits reaping has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], limit)[0])
    finally:
        os.close(handle)
