"""The shared memory of Envoys, which outlives them when they are killed."""

from __future__ import annotations

from pathlib import Path

__all__ = ["ID_FILE", "SHARED_MEMORY", "remove_leftovers", "remove_memory"]

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # where shm_open(3) creates files
ID_FILE = "base-id"
"""The file in Envoy's folder with the number that names its shared memory."""


def remove_leftovers(folder: Path) -> None:
    """Remove the shared memory of killed gateways that ran in folders below this one."""
    for file in folder.glob(f"*/{ID_FILE}"):
        remove_memory(file.parent)


def remove_memory(folder: Path) -> None:
    """Remove the shared memory of the Envoys that ran in a folder."""
    try:
        base_id = (folder / ID_FILE).read_text().strip()
    except OSError:  # no Envoy has started yet
        return
    if base_id.isdecimal():
        # Envoy multiplies the ID by ten: it reserves ten socket names for each.
        (SHARED_MEMORY / f"envoy_shared_memory_{base_id}0").unlink(missing_ok=True)
