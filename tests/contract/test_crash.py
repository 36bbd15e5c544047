"""Processes that are killed: what was promised is kept, and nothing stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.contract.conftest import LEASE
from tests.kit.processes import assert_nothing_left, is_running, process_tree
from tests.kit.stack import PORTAL, Stack, client, free_port
from tests.kit.triggers import accepted, post, trigger_id
from tests.kit.until import until

CHILDREN = {"postgres": "postgres", "server-0": "serve", "dispatcher": "dispatch", "gateway": "gateway"}
AT_ONCE, EACH = 16, 5


@pytest.fixture
async def rest(breakable: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with client(breakable) as session:
        session.headers.update(breakable.headers())
        yield session


def processes_of(stack: Stack, role: str) -> list[psutil.Process]:
    """Return the supervisor's children in a role: a key of `Stack.children`."""
    assert stack.process is not None
    found = []
    for child in psutil.Process(stack.process.pid).children():
        with contextlib.suppress(psutil.Error):  # it has just ended
            if role in {Path(word).name for word in child.cmdline()}:
                found.append(child)
    return found


@pytest.mark.parametrize(
    "name",
    [name if name == "server-0" else pytest.param(name, marks=pytest.mark.long) for name in CHILDREN],
)
async def test_killed_process_restarts_and_loses_nothing(
    breakable: Stack, rest: httpx.AsyncClient, name: str
) -> None:
    """Both servers, or the only process in another role."""
    since, load, role = len(breakable.output), _Load(rest), CHILDREN[name]
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(load.run())
        await until(lambda: len(load.accepted) > AT_ONCE * EACH // 4, "a quarter of the load is accepted")
        killed = processes_of(breakable, role)
        assert len(killed) == (2 if role == "serve" else 1)
        below = [process for one in killed for process in one.children(recursive=True)]
        for one in killed:
            one.kill()
        report = await breakable.until_printed(f"{name} ended: ", since=since)
    assert "killed by SIGKILL; restarting in " in report
    assert f"{breakable.data / 'log' / name}.log" in report or "it wrote nothing" in report
    await breakable.until_printed(f"{name} is ready", since=since)
    assert not {*killed} & {*processes_of(breakable, role)}
    # Linux ends them with their parent, but not in the same instant.
    await until(lambda: not any(map(is_running, below)), "the processes below have ended")

    outbox = breakable.data / "outbox" / "email"

    def missing() -> set[str]:
        return load.accepted - {path.stem for path in outbox.glob("*")}

    assert len(load.accepted) == AT_ONCE * EACH
    assert load.refused <= {503, 504}, load.refused
    await until(lambda: not missing(), lambda: f"all are delivered; {len(missing())} are not")
    first = min(load.accepted)

    async def shown_as_delivered() -> bool:
        shown = await breakable.json("deliveries", "show", first, "--json")
        return isinstance(shown, dict) and shown["summary"]["state"] == "delivered"

    # One that was sent, but not recorded, is sent again after its lease.
    await until(shown_as_delivered, f"{first} is shown as delivered")
    await breakable.until_whole()


class _Load:
    """Triggers until each caller has had its share of 204s; what is refused meanwhile is tried again."""

    def __init__(self, rest: httpx.AsyncClient) -> None:
        self.accepted: set[str] = set()
        self.refused: set[int] = set()
        self._rest = rest

    async def run(self) -> None:
        for _ in range(EACH):
            while (number := await self._try()) is None:
                await asyncio.sleep(0.1)
            self.accepted.add(number)

    async def _try(self) -> str | None:
        try:
            answer = await post(self._rest)
        except httpx.TransportError:  # the gateway itself was killed
            return None
        if answer.status_code == 204:
            return trigger_id(answer)
        self.refused.add(answer.status_code)
        assert answer.json()["message"]
        return None


@pytest.mark.long
async def test_killed_supervisor_leaves_no_process(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "orphan", free_port(), {"dispatch": {"lease": LEASE}, **PORTAL})
    try:
        await stack.start()
        processes = process_tree(stack)
        async with client(stack) as session:
            session.headers.update(stack.headers())
            numbers = [await accepted(session) for _ in range(20)]
        assert stack.process is not None

        assert await stack.stop(signal.SIGKILL) == -signal.SIGKILL

        await until(lambda: not any(map(is_running, processes)), "all processes have ended")
        await stack.start()
        for number in numbers:
            await stack.delivered("email", number)
        processes = process_tree(stack)
    finally:
        await stack.stop()
    await assert_nothing_left(stack, processes)
