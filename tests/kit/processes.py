"""Processes that are not our children, and what they leave behind."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from pathlib import Path

import psutil

from server.up.data_folder import sockets_folder

from .stack import Stack
from .until import TIMEOUT, until

__all__ = [
    "assert_nothing_left",
    "commands_with",
    "has_ended",
    "is_listened_on",
    "is_running",
    "process_tree",
]


def has_ended(pid: int, timeout: float = TIMEOUT) -> bool:
    """Wait for the end of a process that is not our child; a zombie has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], timeout)[0])
    finally:
        os.close(handle)


def is_running(process: psutil.Process) -> bool:
    """Return whether a process runs; a zombie does not."""
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def process_tree(stack: Stack) -> list[psutil.Process]:
    """Return the supervisor and all processes below it."""
    assert stack.process is not None
    head = psutil.Process(stack.process.pid)
    return [head, *head.children(recursive=True)]


async def assert_nothing_left(stack: Stack, processes: list[psutil.Process]) -> None:
    """Check that no process, socket, port or temporary file of a stopped stack remains."""
    await until(lambda: not any(map(is_running, processes)), "all processes of the stack have ended")
    assert not _sockets_of(stack.data)
    assert not list((stack.data / "tmp").glob("*"))
    assert not commands_with(stack.folder)
    assert not is_listened_on(stack.port)


def commands_with(folder: Path) -> list[list[str]]:
    """Return the command lines of other processes that mention a folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and any(str(folder) in word for word in process.cmdline()):
                found.append(process.cmdline())
    return found


def is_listened_on(port: int) -> bool:
    """Return whether a process listens on a loopback port."""
    listening = (c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN)
    return any(connection.laddr and connection.laddr.port == port for connection in listening)


def _sockets_of(data: Path) -> list[str]:
    """Return the entries of a data folder's folder for sockets."""
    folder = sockets_folder(data)
    found = [entry.name for entry in folder.iterdir()]
    if not found:
        folder.rmdir()  # the call above has created it
    return found
