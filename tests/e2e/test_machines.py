"""Accepted triggers survive partitions and failovers of many machines, by a short form of `make machines`."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from lab.machines.network import missing
from tests.kit.until import until

pytestmark = [
    pytest.mark.long,
    pytest.mark.xdist_group("machines"),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]
NAMESPACES = Path("/run/netns")
SECONDS = 900
REFUSED = "cannot create a network namespace"


async def drill(*options: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "lab.machines", *options),
        cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def left(process: asyncio.subprocess.Process) -> list[str]:
    """Return the network namespaces of a drill."""
    names = sorted(path.name for path in NAMESPACES.iterdir()) if NAMESPACES.exists() else []
    return [name for name in names if name.startswith(f"clarion-{process.pid}-")]


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    async with asyncio.timeout(SECONDS):
        output, errors = await process.communicate()
    if REFUSED in errors.decode():
        pytest.skip(errors.decode().strip())
    return process.returncode, output.decode(), errors.decode()


async def test_failovers_and_partitions_lose_nothing() -> None:
    process = await drill("--failovers", "2", "--cut-offs", "1", "--incidents", "3", "--seconds", "5")
    code, output, errors = await ended(process)
    assert code == 0, output + errors
    assert "of these, missing in the final primary | 0 |" in output
    assert output.rstrip().endswith("all guarantees held")
    assert not left(process)


async def test_ctrl_c_removes_the_hosts() -> None:
    process = await drill()
    ending = asyncio.create_task(ended(process))
    await until(lambda: bool(ending.done() or len(left(process)) > 5), "the drill has hosts")
    if not ending.done():
        process.send_signal(signal.SIGINT)
    code, _, errors = await ending
    assert code == 130, errors
    assert not left(process)
