"""What the end-to-end tests share: one running stack, commands in any folder, and waits with an end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from server.up.data_folder import sockets_folder
from tests.kit.smtp_servers import MailServer, mail_server
from tests.kit.stack import Stack, client, running_stack

CLARION = Path(sys.executable).with_name("clarion")
COMMAND_SECONDS = 30.0
CHANNELS = {"email": 44, "text": 45, "push": 46}
ADDRESSES = {
    "email": {"email": "somebody@e2e.example"},
    "text": {"phone": "+12025550123"},
    "push": {"device_token": "device-token-of-e2e"},
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep all that use the running stack in one process, so that it is started once."""
    for item in items:
        if "demo" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("demo"))


@dataclass(frozen=True)
class Done:
    """What a command came to."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
async def mail() -> AsyncIterator[MailServer]:
    async with mail_server() as server:
        yield server


@pytest.fixture(scope="session")
async def demo(tmp_path_factory: pytest.TempPathFactory, mail: MailServer) -> AsyncIterator[Stack]:
    """Return a stack for tests that leave each other alone: each uses a project or ids of its own."""
    smtp = {"type": "smtp", "host": "127.0.0.1", "port": mail.port, "security": "none"}
    settings: dict[str, object] = {
        "providers": {"sandbox": {"type": "sandbox"}, "smtp": smtp},
        "webhooks": {"allow": ["127.0.0.0/8"]},
    }
    async with running_stack(tmp_path_factory.mktemp("demo"), settings) as stack:
        yield stack


@pytest.fixture
async def rest(demo: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with client(demo) as session:
        session.headers.update(demo.headers())
        yield session


async def clarion(folder: Path, *words: str, **env: str) -> Done:
    """Run the installed `clarion` in a folder, as a user would."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CLARION_")}
    process = await asyncio.create_subprocess_exec(
        str(CLARION),
        *words,
        cwd=folder,
        env={**kept, **env},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(COMMAND_SECONDS):
            out, err = await process.communicate()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


async def until(
    holds: Callable[[], bool], seconds: float, what: str | Callable[[], str] = "it did not come true"
) -> float:
    """Return the seconds until it holds; fail when it does not in time."""
    begun = time.monotonic()
    while not holds():
        if time.monotonic() - begun > seconds:
            pytest.fail(what if isinstance(what, str) else what())
        await asyncio.sleep(0.01)
    return time.monotonic() - begun


async def post(
    rest: httpx.AsyncClient, channel: str = "email", *, campaign: int | None = None, **body: object
) -> httpx.Response:
    """Trigger the demo's campaign of this channel, or another."""
    number = campaign or CHANNELS[channel]
    user = {"external_id": f"user-{uuid.uuid4()}", **ADDRESSES[channel]}
    return await rest.post(f"/api/client/campaigns/{number}/trigger", json={"user": user, **body})


async def accepted(
    rest: httpx.AsyncClient, channel: str = "email", *, campaign: int | None = None, **body: object
) -> str:
    """Trigger and return the trigger id."""
    return trigger_id(await post(rest, channel, campaign=campaign, **body))


def trigger_id(answer: httpx.Response) -> str:
    """Return the id that the answer to a good trigger carries."""
    assert answer.status_code == 204, answer.text
    assert answer.content == b""
    return str(uuid.UUID(answer.headers["x-trigger-id"]))


async def delivered(stack: Stack, channel: str, number: str, seconds: float = 10) -> Path:
    """Return the outbox file of a trigger once it is there."""
    suffix = "eml" if channel == "email" else "json"
    path = stack.data / "outbox" / channel / f"{number}.{suffix}"
    await until(path.exists, seconds, lambda: f"no {path}\n{stack.log('dispatcher')[-2000:]}")
    return path


async def said(stack: Stack, text: str, since: int, seconds: float) -> str:
    """Return the line that holds the text, once it is said after the first `since` lines."""
    await until(
        lambda: any(text in line for line in stack.output[since:]),
        seconds,
        lambda: f"did not say {text!r}:\n{''.join(stack.output[since:])}",
    )
    return next(line for line in stack.output[since:] if text in line)


def family(stack: Stack) -> list[psutil.Process]:
    """Return the supervisor and all processes below it."""
    assert stack.process is not None
    head = psutil.Process(stack.process.pid)
    return [head, *head.children(recursive=True)]


def runs(process: psutil.Process) -> bool:
    """Tell whether a process runs; a zombie is its new parent's affair."""
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


async def nothing_is_left(stack: Stack, processes: list[psutil.Process], seconds: float) -> None:
    """Return when no process, socket, port or temporary file of a stack remains."""
    await until(lambda: not any(map(runs, processes)), seconds, "processes are left")
    assert not sockets_of(stack.data)
    assert not list((stack.data / "tmp").glob("*"))
    assert not others_of(stack.folder)
    assert not is_listened_on(stack.port)


def sockets_of(data: Path) -> list[str]:
    """Return what lies in the folder for sockets of a data folder."""
    folder = sockets_folder(data)
    found = [entry.name for entry in folder.iterdir()]
    if not found:
        folder.rmdir()  # asking for it has made it
    return found


def others_of(folder: Path) -> list[list[str]]:
    """Return the command lines of processes that have to do with a folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and any(str(folder) in word for word in process.cmdline()):
                found.append(process.cmdline())
    return found


def is_listened_on(port: int) -> bool:
    """Tell whether something listens on a port of the loopback."""
    listening = (c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN)
    return any(connection.laddr and connection.laddr.port == port for connection in listening)
