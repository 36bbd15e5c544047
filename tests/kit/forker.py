"""Runs `clarion` commands in forks of one process that has imported Clarion already.

A command is still a separate process, with its own folder, environment and output, but it does not spend most
of its time on imports. The process that forks is `python -m tests.kit.forker SOCKET`,
which `run` starts once.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from tests.kit.until import until

__all__ = ["run"]

_MAX_REQUEST = 1024 * 1024  # bytes
_MODULES = ("server.cli", "server.wiring.common", "server.wiring.webhooks", "server.up.plan", "grpc")
"""What commands import, most of them only when they run; groups of commands are added."""


async def run(
    words: tuple[str, ...], *, folder: Path, env: Mapping[str, str], seconds: float
) -> tuple[int, str, str]:
    """Run a command without standard input; return exit code, stdout and stderr.

    Raises:
        TimeoutError: It took longer than `seconds`, and was killed with its process group.
    """
    path = _forker()
    await until(path.exists, "the forker has imported Clarion", 180)
    request = json.dumps({"words": words, "folder": str(folder), "env": dict(env)}).encode()
    peer = socket.socket(socket.AF_UNIX)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        peer.connect(str(path))
        socket.send_fds(peer, [request], [out.fileno(), err.fileno()])
        peer.setblocking(False)  # noqa: FBT003 - the standard library's signature
        reader, writer = await asyncio.open_connection(sock=peer)
        process = int(await reader.readline())
        try:
            async with asyncio.timeout(seconds):
                code = int(await reader.readline())
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)
            writer.close()
        return code, _content(out.fileno()), _content(err.fileno())


def _content(file: int) -> str:
    return os.pread(file, os.fstat(file).st_size, 0).decode()


@cache
def _forker() -> Path:
    """Start the process that forks; return the path of its socket. It ends with this process."""
    path = Path(tempfile.mkdtemp(prefix="clarion-forker-")) / "socket"
    command = [sys.executable, "-m", "tests.kit.forker", str(path)]
    subprocess.Popen(command, stdin=subprocess.PIPE, cwd=Path(__file__).parents[2])
    return path


def _serve(path: Path) -> None:
    """Fork for each connection, until standard input ends."""
    for name in (*_MODULES, *_groups()):
        importlib.import_module(name)
    gc.freeze()  # so that forks do not copy what they only look at
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    listener = socket.socket(socket.AF_UNIX)
    ready = path.with_name("starting")
    listener.bind(str(ready))
    listener.listen()
    ready.rename(path)
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        peer, _ = listener.accept()
        if os.fork() == 0:
            _answer(peer)
        peer.close()
    path.unlink()
    path.parent.rmdir()


def _groups() -> list[str]:
    from server.cli import GROUPS  # noqa: PLC0415 - tests that only call `run` need no CLI

    return [f"server.commands.{name}" for name in GROUPS]


def _answer(peer: socket.socket) -> None:
    """Run the command that a connection asks for; send its process ID and then its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request, files, _, _ = socket.recv_fds(peer, _MAX_REQUEST, 2)
    process = os.fork()
    if process == 0:
        peer.close()
        _become(files, **json.loads(request))
    with suppress(BrokenPipeError):
        peer.sendall(b"%d\n" % process)
        _, status = os.waitpid(process, 0)
        peer.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _become(files: list[int], *, words: list[str], folder: str, env: dict[str, str]) -> None:
    """Run a command in this process."""
    from server.cli import main  # noqa: PLC0415 - imported before the fork

    os.setsid()
    for target, file in enumerate([os.open(os.devnull, os.O_RDONLY), *files]):
        os.dup2(file, target)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["clarion", *words]
    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
