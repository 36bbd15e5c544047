"""Child processes that end with the block that started them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from ..bench.plan import BenchError

__all__ = ["bench_module", "running", "until", "until_logged", "with_bench"]

_STOP_SECONDS = 10.0
_LAST_LINES = 5


@asynccontextmanager
async def running(
    command: Sequence[str],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    stop: signal.Signals = signal.SIGTERM,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a command for the block, its output in the file `log`; then end it.

    It gets a session of its own: Ctrl-C reaches us alone, and we end it.

    Raises:
        BenchError: it ended by itself before the block did.
    """
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**os.environ, **env} if env is not None else None,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
        if process.returncode is not None:
            raise BenchError(_ended(process, log))
    except BenchError as error:
        if process.returncode:  # which is why
            raise BenchError(_ended(process, log)) from error
        raise
    finally:
        await _end(process, stop)


async def until(condition: Callable[[], bool], seconds: float, *, every: float = 0.002) -> bool:
    """Wait for what nothing announces; tell whether it came in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - another process's doing
                await asyncio.sleep(every)
            return True
    return False


async def until_logged(process: asyncio.subprocess.Process, log: Path, text: str, seconds: float) -> None:
    """Return when the log holds the text.

    Raises:
        BenchError: it does not in time, or the process ended.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while process.returncode is None:
                if text in _read(log):
                    return
                await asyncio.sleep(0.02)  # a file says nowhere that it has grown
    raise BenchError(f"{log.stem} did not start: {_last_words(log)}")


def bench_module(name: str, *words: object) -> list[str]:
    """Return the command that runs a module of this package; it needs the variables of `with_bench`."""
    return [sys.executable, "-P", "-m", f"lab.{name}", *map(str, words)]


def with_bench() -> dict[str, str]:
    """Return where the modules of this package are found; they are not installed with the product."""
    root = str(Path(__file__).parents[2])
    return {"PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}


async def _end(process: asyncio.subprocess.Process, stop: signal.Signals) -> None:
    if process.returncode is not None:
        return
    process.send_signal(stop)
    try:
        await asyncio.wait_for(process.wait(), _STOP_SECONDS)
    except TimeoutError:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _ended(process: asyncio.subprocess.Process, log: Path) -> str:
    return f"{log.stem} ended with exit code {process.returncode}: {_last_words(log)}"


def _last_words(log: Path) -> str:
    return " | ".join(_read(log).splitlines()[-_LAST_LINES:]) or "it said nothing"


def _read(log: Path) -> str:
    return log.read_text(errors="replace")
