"""How one Envoy hands over to the next without closing the port: Envoy's hot restart.

The Envoys of one gateway find each other by a number (the base id) that names a small piece of shared memory
and two sockets. Envoy chooses the number, so that gateways of one machine do not meet.
"""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

from ..options import GatewayOptions

__all__ = ["HotRestart", "parent_seconds", "remove_leftovers"]

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # where shm_open(3) puts it
ID_FILE = "base-id"
# The layout of Envoy's shared memory, version 11: size, version, two locks, and flags at the end.
LAYOUT = struct.Struct("=QQ80xQ")
VERSION = 11


class HotRestart:
    """The Envoys that follow each other in one folder. `epoch` is the number of the latest."""

    def __init__(self, folder: Path) -> None:
        self.epoch = 0
        self._folder = folder

    @staticmethod
    def is_possible() -> bool:
        """Return whether this system has what hot restart needs."""
        return sys.platform == "linux" and os.access(SHARED_MEMORY, os.W_OK)

    def arguments(self, options: GatewayOptions, epoch: int) -> tuple[str, ...]:
        """Return what the Envoy of an epoch is told on its command line."""
        number = ("--base-id", self._id()) if epoch else ("--use-dynamic-base-id", "--base-id-path", ID_FILE)
        return (
            *number,
            *("--restart-epoch", str(epoch)),
            # In our folder: the default is an abstract socket, which every user of the machine can reach.
            *("--socket-path", "hot", "--socket-mode", "600"),
            *("--drain-strategy", "immediate"),
            *("--parent-shutdown-time-s", str(parent_seconds(options))),
        )

    def clear_start_flag(self) -> None:
        """Let the next one start although the last one ended while it started.

        It has left a flag, "an Envoy is starting", which would keep every other from it.
        """
        with (SHARED_MEMORY / self._memory()).open("r+b") as memory:
            content = memory.read()
            if len(content) == LAYOUT.size and LAYOUT.unpack(content)[:2] == (LAYOUT.size, VERSION):
                memory.seek(LAYOUT.size - 8)
                memory.write(bytes(8))

    def close(self) -> None:
        """Remove the shared memory, once no Envoy runs."""
        _remove_memory(self._folder / ID_FILE)

    def _id(self) -> str:
        return (self._folder / ID_FILE).read_text().strip()

    def _memory(self) -> str:
        return _memory_of(self._id())


def parent_seconds(options: GatewayOptions) -> int:
    """Return how long an old Envoy goes on beside the new one: its calls in flight end meanwhile."""
    return 1 + max(1, round(options.drain_timeout))


def remove_leftovers(folder: Path) -> None:
    """Remove the shared memory of gateways that worked below this folder and were killed."""
    for file in folder.glob(f"*/{ID_FILE}"):
        _remove_memory(file)


def _remove_memory(id_file: Path) -> None:
    try:
        number = id_file.read_text().strip()
    except OSError:  # no Envoy came so far
        return
    if number.isdecimal():
        (SHARED_MEMORY / _memory_of(number)).unlink(missing_ok=True)


def _memory_of(number: str) -> str:
    return (
        f"envoy_shared_memory_{number}0"  # Envoy keeps ten numbers for each id: its sockets count the epochs
    )
