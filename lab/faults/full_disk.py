"""`python -m lab.faults.full_disk`: fill the disk of `clarion up` with PostgreSQL's log, and free it again.

It needs root, to mount a small file system in memory. Exit codes: 0; 1 if a guarantee failed; 2 if the run
failed.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import asyncpg
import click

from server.up.data_folder import sockets_folder

from ..command import HELP, data_option, log, run_command
from ..errors import LabError
from ..load import PATH, Connection
from ..process import free_port
from ..up import ClarionUp

__all__ = ["Result", "fill_disk", "main"]

_SIZE_MIB, _LEFT_MIB = 256, 9
"""The size of the disk, and the space left for PostgreSQL: less than one more log file, which has 16 MiB."""
_FILL = "SELECT pg_logical_emit_message(true, 'fill', repeat(md5(random()::text), 100000))"
_PATIENCE = 120.0
_REPEAT = 0.1  # seconds between calls
_CALLS_WHILE_FULL = 20
_BODY = json.dumps({"user": {"external_id": "user-1", "email": "user-1@faults.example"}}).encode()


class Result:
    """The answers to calls, and the number of triggers missing at the end."""

    def __init__(self) -> None:
        self.accepted: set[str] = set()
        self.while_full: Counter[int] = Counter()
        """Answers while PostgreSQL could not start."""
        self.missing = 0
        self.seconds = 0.0
        """Seconds from the time that space was freed to the first 204."""

    @property
    def passed(self) -> bool:
        """Whether nothing is missing, and calls were answered with 503 meanwhile."""
        return not self.missing and set(self.while_full) == {HTTPStatus.SERVICE_UNAVAILABLE}

    def __str__(self) -> str:
        """Return one line."""
        return (
            f"full disk: {len(self.accepted)} accepted, {self.missing} missing, answers while full:"
            f" {dict(self.while_full)}, first 204 {self.seconds:.1f} s after there was space"
            f"{'' if self.passed else '  FAILED'}"
        )


async def fill_disk(folder: Path) -> Result:
    """Run `clarion up` on a small disk, fill the disk until PostgreSQL ends, and free it again.

    Args:
        folder: The empty file system.

    Raises:
        LabError: Clarion ended, or did not recover within two minutes.
    """
    up, result, filler = (
        ClarionUp(folder / "up", free_port(), options=("--demo",)),
        Result(),
        folder / "filler",
    )
    await up.start()
    try:
        sockets = await asyncio.to_thread(sockets_folder, up.data)
        connection = Connection(up.port, (up.data / "demo-key").read_text().strip())
        await _until_accepted(connection, result)
        await asyncio.to_thread(_leave, folder, filler)
        await _fill_log(sockets)
        await up.until_printed("waiting for space")
        for _ in range(_CALLS_WHILE_FULL):
            result.while_full[await _call(connection, result)] += 1
        await asyncio.to_thread(filler.unlink)
        begun = time.monotonic()
        await _until_accepted(connection, result)
        result.seconds = time.monotonic() - begun
        result.missing = len(result.accepted - await _stored(sockets))
    finally:
        await up.stop()
    return result


def _leave(folder: Path, filler: Path) -> None:
    free = shutil.disk_usage(folder).free - (_LEFT_MIB << 20)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free)


async def _fill_log(sockets: Path) -> None:
    """Write to PostgreSQL's log until it ends."""
    connection = await _connect(sockets)
    try:
        async with asyncio.timeout(_PATIENCE):
            while True:
                await connection.execute(_FILL)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        log(f"PostgreSQL: {error}")
    finally:
        connection.terminate()


async def _until_accepted(connection: Connection, result: Result) -> None:
    async with asyncio.timeout(_PATIENCE):
        while await _call(connection, result) != HTTPStatus.NO_CONTENT:  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(_REPEAT)


async def _call(connection: Connection, result: Result) -> int:
    answer = await connection.post(PATH, _BODY)
    if answer.status == HTTPStatus.NO_CONTENT:
        result.accepted.add(answer.header("x-trigger-id"))
    return answer.status


async def _stored(sockets: Path) -> set[str]:
    connection = await _connect(sockets)
    try:
        return {str(row["id"]) for row in await connection.fetch("SELECT id FROM trigger")}
    finally:
        await connection.close()


async def _connect(sockets: Path) -> asyncpg.Connection:
    return await asyncpg.connect(host=str(sockets), user="clarion", database="clarion")


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    _system("mount", "-t", "tmpfs", "-o", f"size={_SIZE_MIB}m,mode=0700", "tmpfs", str(folder))
    try:
        yield
    finally:
        _system("umount", str(folder))


def _system(program: str, *arguments: str) -> None:
    """Run a program of the system.

    Raises:
        LabError: It is missing, or failed.
    """
    path = shutil.which(program)
    if path is None:
        raise LabError(f"the program {program} is missing")
    done = subprocess.run([path, *arguments], capture_output=True, check=False)
    if done.returncode:
        raise LabError(f"{program} failed: {done.stderr.decode().strip()}")


@click.command(context_settings=HELP)
@data_option
def main(*, data: Path) -> None:
    """Fill the disk of `clarion up` with PostgreSQL's log, and free it again."""
    if os.geteuid() != 0:
        log("full disk: skipped, because only root can mount a small disk")
        return
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="disk-", dir=data))
    run_command(_run(folder), name="faults")


async def _run(folder: Path) -> int:
    try:
        with _small_disk(folder):
            result = await fill_disk(folder)
    finally:
        await asyncio.to_thread(folder.rmdir)
    click.echo(str(result))
    return 0 if result.passed else 1


if __name__ == "__main__":
    main()
