"""What the benchmarks of delivery share as commands: a folder of their own, an orderly end, an exit code."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import uvloop

from gateway import GatewayError
from server.errors import ClarionError
from server.up.data_folder import RunDir

from .plan import BenchError

__all__ = ["data_option", "own_folder", "run_bench", "say"]

_WRONG, _STOPPED = 2, 130

data_option = click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=Path(".clarion"),
    help="Where the database lives for the run; its disk decides what fsync costs.",
)


def run_bench(work: Coroutine[Any, Any, int]) -> int:
    """Run a benchmark to its end, or to SIGINT or SIGTERM; return the exit code."""
    try:
        return uvloop.run(_until_signal(work))
    except (BenchError, ClarionError, GatewayError) as error:
        click.echo(f"bench: {error}", err=True)
        return _WRONG
    except (KeyboardInterrupt, asyncio.CancelledError):
        click.echo("bench: stopped; everything that it started has ended", err=True)
        return _STOPPED


async def _until_signal(work: Coroutine[Any, Any, int]) -> int:
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


@contextmanager
def own_folder(data: Path) -> Iterator[RunDir]:
    """Make a folder for one run below `data`, and remove it in the end."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=data) as name, RunDir(Path(name)) as run:
        yield run


def say(text: str) -> None:
    """Tell how far it is."""
    click.echo(text, err=True)
