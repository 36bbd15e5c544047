"""Provides what the lab's commands share: a data folder, an orderly shutdown and exit codes."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click
import uvloop

from gateway import GatewayError
from server.errors import ClarionError
from server.up.data_folder import RunDir

from .errors import LabError

__all__ = ["HELP", "data_option", "kept_run", "log", "run_command", "temporary_run"]

HELP = {"help_option_names": ["-h", "--help"], "show_default": True}
"""Context settings of all commands."""
_FAILED, _STOPPED = 2, 130

data_option = click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=Path(".clarion"),
    help="Folder for the run's database; its disk determines what fsync costs.",
)


def run_command(work: Coroutine[Any, Any, int], *, name: str = "bench") -> NoReturn:
    """Run to the end, or until SIGINT or SIGTERM cancels the work, and exit.

    Args:
        work: returns the exit code.
        name: prefix of error messages.
    """
    try:
        code = uvloop.run(_until_signal(work))
    except (LabError, ClarionError, GatewayError, TimeoutError) as error:
        log(f"{name}: {str(error) or 'timed out'}")
        code = _FAILED
    except (KeyboardInterrupt, asyncio.CancelledError):
        log(f"{name}: stopped; all child processes have ended")
        code = _STOPPED
    sys.exit(code)


async def _until_signal(work: Coroutine[Any, Any, int]) -> int:
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


@contextmanager
def temporary_run(data: Path, *, prefix: str = "bench-") -> Iterator[RunDir]:
    """Create a folder for one run below `data`, and remove it at the end."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=data) as name, RunDir(Path(name)) as run:
        run.log.mkdir(mode=0o700)
        yield run


@contextmanager
def kept_run(folder: Path) -> Iterator[RunDir]:
    """Use a folder that stays, with its database; create it if it is missing."""
    with RunDir(folder) as run:
        run.log.mkdir(mode=0o700, exist_ok=True)
        for left in run.data.glob("envoy-*"):  # of the last run
            shutil.rmtree(left)
        yield run


def log(text: str) -> None:
    """Print progress to standard error."""
    click.echo(text, err=True)
