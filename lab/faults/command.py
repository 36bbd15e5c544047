"""What the commands of this package share: the choice of scenarios, and a folder that keeps logs."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ..command import log

__all__ = ["FAILED", "RunFolder", "run_folder", "scenario_option"]

FAILED = 1
"""The exit code if a guarantee failed."""


def scenario_option(names: Iterable[str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return an option `--scenario`, repeatable; without it, all run."""
    known = tuple(names)
    return click.option(
        "--scenario",
        "scenarios",
        type=click.Choice(known),
        multiple=True,
        default=known,
        help="What to break; repeatable.",
    )


@dataclass
class RunFolder:
    """A folder for the data and logs of a run."""

    path: Path
    passed: bool = False
    """Whether the folder may be deleted."""


@contextmanager
def run_folder(data: Path, prefix: str) -> Iterator[RunFolder]:
    """Make a folder. Delete it after a run that passed or was cancelled; otherwise print where it is."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = RunFolder(Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=data)))
    try:
        yield folder
    except asyncio.CancelledError:
        folder.passed = True
        raise
    finally:
        if folder.passed:
            shutil.rmtree(folder.path, ignore_errors=True)
        else:
            log(f"logs: {folder.path}")
