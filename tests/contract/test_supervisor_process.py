"""The supervisor as a process: signals, terminals, and its own death."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import shlex
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

import gateway.run.launch
from tests.kit.children import FOREVER, STUBBORN, written
from tests.kit.processes import has_ended

PROGRAM = """
import asyncio, sys
from pathlib import Path
from server.up.supervisor import supervisor as supervising
from server.up.supervisor import Child, Supervisor

def say(text): print(text, flush=True)

children = [Child(name=f"c{n}", command=[sys.executable, "-u", "-c", code], extra_stop_timeout=600)
            for n, code in enumerate(sys.argv[2:])]
sys.exit(asyncio.run(Supervisor(children, Path(sys.argv[1]), say, on_up=lambda: say("all up")).run()))
"""


PRINT_PID = "import os; print('pid', os.getpid(), flush=True);"


async def start_program(log: Path, *codes: str) -> tuple[asyncio.subprocess.Process, list[int]]:
    """Run a supervisor in its own process; return it and its children's process ids."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, str(log), *(PRINT_PID + code for code in codes)),
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout
    async with asyncio.timeout(60):
        while await process.stdout.readline() != b"all up\n":
            assert process.returncode is None
    logs = [await written(log / f"c{n}.log", "here") for n in range(len(codes))]
    return process, [int(text.split()[1]) for text in logs]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signal_to_the_process_group_stops_in_order(tmp_path: Path, number: int) -> None:
    process, pids = await start_program(tmp_path, FOREVER, FOREVER)
    os.killpg(process.pid, number)
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    assert out == b"stopping c1, c0\nstopped\n"  # no child received the signal: no death was reported
    assert all(has_ended(pid) for pid in pids)


async def test_closed_terminal_stops_everything(tmp_path: Path) -> None:
    master, terminal = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, str(tmp_path), PRINT_PID + FOREVER),
        stdin=terminal,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(terminal)
    pid = int((await written(tmp_path / "c0.log", "here")).split()[1])
    os.close(master)  # the kernel sends SIGHUP
    assert await asyncio.wait_for(process.wait(), 60) == 0
    assert has_ended(pid)


async def test_second_signal_kills_at_once(tmp_path: Path) -> None:
    process, pids = await start_program(tmp_path, STUBBORN, STUBBORN)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.stdout
    assert (await process.stdout.readline()).startswith(b"stopping")
    await asyncio.sleep(0.6)  # longer than the time in which a second signal counts as an echo
    assert process.returncode is None
    process.send_signal(signal.SIGINT)
    await asyncio.wait_for(process.communicate(), 60)
    assert time.monotonic() - started < 120  # not the 600 seconds that the children have
    assert all(has_ended(pid) for pid in pids)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a death signal")
async def test_killing_the_supervisor_ends_its_children(tmp_path: Path) -> None:
    process, pids = await start_program(tmp_path, STUBBORN, FOREVER)
    process.kill()
    await process.wait()
    assert all(has_ended(pid) for pid in pids)


async def test_closed_output_does_not_keep_children_alive(tmp_path: Path) -> None:
    command = shlex.join([sys.executable, "-c", PROGRAM, str(tmp_path), PRINT_PID + FOREVER])
    process = await asyncio.create_subprocess_shell(f"exec {command} | :", start_new_session=True)
    pid = int((await written(tmp_path / "c0.log", "here")).split()[1])
    os.killpg(process.pid, signal.SIGTERM)
    await asyncio.wait_for(process.wait(), 60)
    assert has_ended(pid)


def test_sigpipe_is_not_ignored_in_children(tmp_path: Path) -> None:
    launch = gateway.run.launch.__file__
    done = subprocess.run(
        [sys.executable, str(launch), "9", str(os.getpid()), "sh", "-c", "kill -PIPE $$; echo still here"],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (-signal.SIGPIPE, b"")
