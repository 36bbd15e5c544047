"""The supervisor, with real child processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from server.errors import ConfigError
from server.up.supervisor import Child, RestartPolicy, Supervisor
from server.up.supervisor import supervisor as supervising
from tests.kit.children import FOREVER, STUBBORN, written
from tests.kit.processes import has_ended

QUICK = RestartPolicy(first=0.02, longest=0.05, quick_deaths=3)


def python(name: str, code: str, **more: object) -> Child:
    return Child(name=name, command=[sys.executable, "-u", "-c", code], **more)  # type: ignore[arg-type]


class Messages:
    """The supervisor's messages; a test can wait for one of them."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._new = asyncio.Event()

    def __call__(self, text: str) -> None:
        self.texts.append(text)
        self._new.set()

    def __str__(self) -> str:
        return "\n".join(self.texts)

    async def wait_for(self, part: str, times: int = 1) -> None:
        async with asyncio.timeout(60):
            while str(self).count(part) < times:
                self._new.clear()
                await self._new.wait()


async def stopped(supervisor: Supervisor, running: asyncio.Task[int]) -> int:
    supervisor.stop()
    return await asyncio.wait_for(running, 60)


async def test_children_start_one_after_another(tmp_path: Path) -> None:
    messages, gate, first_log = Messages(), asyncio.Event(), tmp_path / "first.log"

    async def first_ready() -> None:
        await written(first_log, "here")
        await gate.wait()

    children = [python("first", FOREVER, ready=first_ready), python("second", FOREVER)]
    supervisor = Supervisor(children, tmp_path, messages, on_up=lambda: messages("all up"))
    running = asyncio.create_task(supervisor.run())
    await written(first_log, "here")
    assert "second" not in str(messages)
    gate.set()
    await messages.wait_for("all up")
    assert await stopped(supervisor, running) == 0
    assert messages.texts == [
        "starting first",
        "first is ready",
        "starting second",
        "second is ready",
        "all up",
        "stopping second, first",
        "stopped",
    ]


async def test_children_stop_in_reverse_order(tmp_path: Path) -> None:
    ends = tmp_path / "ends"
    code = (
        "import signal, sys, time\n"
        "def end(*_):\n"
        "    open(sys.argv[2], 'a').write(sys.argv[1] + ' '); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end); print('here', flush=True)\n"
        "while True: time.sleep(600)\n"
    )
    children = [
        Child(
            name=name,
            command=[sys.executable, "-c", code, name, str(ends)],
            ready=ready_by_log(tmp_path / f"{name}.log"),
        )
        for name in ("postgres", "server", "dispatcher", "gateway")
    ]
    messages = Messages()
    supervisor = Supervisor(children, tmp_path, messages, on_up=lambda: messages("all up"))
    running = asyncio.create_task(supervisor.run())
    await messages.wait_for("all up")
    assert await stopped(supervisor, running) == 0
    assert ends.read_text().split() == ["gateway", "dispatcher", "server", "postgres"]


def ready_by_log(path: Path) -> Callable[[], Awaitable[None]]:
    async def ready() -> None:
        await written(path, "here")

    return ready


async def test_repeated_deaths_are_reported_until_giving_up(tmp_path: Path) -> None:
    messages = Messages()
    code = "import sys; [print(f'line {n}', file=sys.stderr) for n in range(20)]; sys.exit('no such table')"
    supervisor = Supervisor(
        [python("steady", FOREVER), python("weak", code)], tmp_path, messages, policy=QUICK
    )
    assert await asyncio.wait_for(supervisor.run(), 60) == 1
    reports = [text for text in messages.texts if text.startswith("weak ended")]
    assert len(reports) == 3
    assert reports[0].startswith("weak ended: exit code 1; restarting in 0.02 s; its last lines")
    assert "restarting in 0.04 s" in reports[1]
    assert "died 3 times in quick succession, giving up" in reports[2]
    for report in reports:
        assert report.endswith("  | no such table")
        assert report.count("\n  | ") == 10
        assert "line 10\n" not in report
    assert messages.texts[-2:] == ["stopping weak, steady", "stopped"]


async def test_killed_child_is_restarted(tmp_path: Path) -> None:
    messages = Messages()
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    prepared: list[int] = []

    async def prepare() -> None:
        prepared.append(1)

    child = python("child", code, prepare=prepare)
    supervisor = Supervisor([child], tmp_path, messages, policy=QUICK)
    running = asyncio.create_task(supervisor.run())
    os.kill(int(await written(tmp_path / "child.log", "\n")), signal.SIGKILL)
    await messages.wait_for("child is ready", times=2)
    assert "child ended: killed by SIGKILL; restarting in 0.02 s" in str(messages)
    assert await stopped(supervisor, running) == 0
    assert len(prepared) == 2


async def test_child_that_is_not_ready_in_time_stops_all(tmp_path: Path) -> None:
    messages = Messages()

    async def ready() -> None:
        try:
            await asyncio.Event().wait()
        finally:  # the time limit may be over before a busy machine has started the child
            await written(tmp_path / "slow.log", "here")

    child = python("slow", FOREVER, ready=ready, ready_timeout=0.5)
    assert await asyncio.wait_for(Supervisor([child], tmp_path, messages).run(), 60) == 1
    assert "slow was not ready within 0.5 s; giving up; its last lines" in str(messages)
    assert "  | here" in str(messages)


async def test_missing_program_is_reported(tmp_path: Path) -> None:
    messages = Messages()
    children = [python("steady", FOREVER), Child(name="gateway", command=["/nowhere/envoy"])]
    with pytest.raises(ConfigError, match="cannot start gateway: the program /nowhere/envoy does not exist"):
        await asyncio.wait_for(Supervisor(children, tmp_path, messages).run(), 60)
    assert messages.texts[-1] == "stopped"


async def test_program_that_cannot_run_is_reported(tmp_path: Path) -> None:
    broken, messages = tmp_path / "broken", Messages()
    broken.write_text("#!/nowhere/interpreter\n")
    broken.chmod(0o700)
    supervisor = Supervisor([Child(name="odd", command=[str(broken)])], tmp_path, messages, policy=QUICK)
    assert await asyncio.wait_for(supervisor.run(), 60) == 1
    assert f"  | cannot start {broken}: No such file or directory" in str(messages)


async def test_stubborn_child_is_killed_with_its_children(tmp_path: Path) -> None:
    messages, log = Messages(), tmp_path / "stubborn.log"
    code = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {STUBBORN!r}]).pid);"
    child = python("stubborn", code + STUBBORN, stop_timeout=0.3)
    supervisor = Supervisor([child], tmp_path, messages)
    running = asyncio.create_task(supervisor.run())
    await written(log, "here", times=2)
    started = time.monotonic()
    assert await stopped(supervisor, running) == 0
    assert time.monotonic() - started < 60  # it would sleep for 600 seconds
    assert has_ended(int(next(line for line in log.read_text().splitlines() if line.isdigit())))


async def test_children_share_the_time_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert supervising._STOP_SECONDS <= 8  # of the ten that `clarion up` promises
    monkeypatch.setattr(supervising, "_STOP_SECONDS", 0.8)
    children = [
        python(f"c{n}", STUBBORN, stop_timeout=600, ready=ready_by_log(tmp_path / f"c{n}.log"))
        for n in range(4)
    ]
    messages = Messages()
    supervisor = Supervisor(children, tmp_path, messages, on_up=lambda: messages("all up"))
    running = asyncio.create_task(supervisor.run())
    await messages.wait_for("all up")
    started = time.monotonic()
    await stopped(supervisor, running)
    assert time.monotonic() - started < 120  # not 600 seconds for each


async def test_binary_output_is_logged_in_bounded_lines(tmp_path: Path) -> None:
    messages = Messages()
    code = (
        "import os, sys\n"
        "os.write(1, b'x' * 1_000_000)\n"
        "os.write(2, b'\\n' + bytes(range(256)) * 4 + b'\\r\\n')\n"
        "os.write(1, b'\\x1b[31mred %s %d\\nno end')\n"
        "os.close(1); os.close(2); os._exit(3)\n"
    )
    policy = RestartPolicy(quick_deaths=1)
    assert await asyncio.wait_for(
        Supervisor([python("odd", code)], tmp_path, messages, policy=policy).run(), 60
    )
    report = next(text for text in messages.texts if text.startswith("odd ended"))
    assert report.endswith("red %s %d\n  | no end")
    assert all(character.isprintable() for line in report.split("\n") for character in line)
    assert max(len(line) for line in report.split("\n")[1:]) < 400
    log = (tmp_path / "odd.log").read_bytes()
    assert log.count(b"x" * 8192 + b"\n") == 1_000_000 // 8192
    assert (tmp_path / "odd.log").stat().st_mode & 0o077 == 0


async def test_open_output_does_not_delay_the_report(tmp_path: Path) -> None:
    messages = Messages()
    code = "import subprocess; subprocess.Popen(['sleep', '90'], start_new_session=True); exit('over')"
    supervisor = Supervisor([python("p", code)], tmp_path, messages, policy=RestartPolicy(quick_deaths=1))
    assert await asyncio.wait_for(supervisor.run(), 60) == 1
    assert "  | over" in str(messages)


async def test_sighup_restarts_each_child_while_a_spare_runs(
    tmp_path: Path,
) -> None:
    messages = Messages()
    children = [
        python("kept", FOREVER),
        python("first", FOREVER, restart_signal=signal.SIGTERM),
        python("second", FOREVER, restart_signal=signal.SIGTERM),
    ]
    spare = python("spare", FOREVER)
    supervisor = Supervisor(children, tmp_path, messages, on_up=lambda: messages("all up"), spare=spare)
    running = asyncio.create_task(supervisor.run())
    await messages.wait_for("all up")
    os.kill(os.getpid(), signal.SIGHUP)
    await messages.wait_for("all processes were restarted")
    assert await stopped(supervisor, running) == 0
    restart = messages.texts[
        messages.texts.index("all up") + 1 : messages.texts.index("all processes were restarted")
    ]
    assert restart == [
        "starting spare",
        "spare is ready",
        "restarting first",
        "starting first",
        "first is ready",
        "restarting second",
        "starting second",
        "second is ready",
    ]


async def test_failed_spare_abandons_the_restart(tmp_path: Path) -> None:
    messages = Messages()
    child = python("child", FOREVER, restart_signal=signal.SIGTERM)
    spare = python("spare", "exit('no such setting')", ready=asyncio.Event().wait)
    supervisor = Supervisor([child], tmp_path, messages, on_up=lambda: messages("all up"), spare=spare)
    running = asyncio.create_task(supervisor.run())
    await messages.wait_for("all up")
    os.kill(os.getpid(), signal.SIGHUP)
    await messages.wait_for("the restart was abandoned: spare ended: exit code 1")
    assert "  | no such setting" in str(messages)
    assert await stopped(supervisor, running) == 0
    assert str(messages).count("starting child") == 1
