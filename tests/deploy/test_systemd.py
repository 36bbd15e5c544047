"""The units: systemd accepts them, rates them as hardened, and every process works under their filters."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.config import Settings
from server.postgres.embedded import EmbeddedPostgres
from server.up.data_folder import sockets_folder
from tests.deploy.sandbox import settings
from tests.kit.commands import CLARION, clarion, run_program
from tests.kit.stack import EXAMPLE, Stack, client, free_port, running_stack
from tests.kit.until import until

UNITS = Path(__file__).parents[2] / "deploy/systemd"
SANDBOX = Path(__file__).with_name("sandbox.py")
SERVICES = sorted(UNITS.glob("*.service"))
HIGHEST_EXPOSURE = 2.0

analyzed = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")


def test_stop_times_cover_the_settings() -> None:
    """systemd kills what has not ended by then, so it waits longer than a process with default settings."""
    default = Settings()
    needed = {
        "clarion-server@": default.server.lame_duck + default.server.shutdown_grace,
        "clarion-dispatcher@": default.dispatch.shutdown_grace,
        "clarion-gateway": default.gateway.drain_grace + default.gateway.drain_timeout,
        "clarion-portal": 2,
    }
    for name, seconds in needed.items():
        [limit] = settings(UNITS / f"{name}.service", "TimeoutStopSec")
        assert float(limit) >= seconds + 5, name
    [limit] = settings(UNITS / "clarion.service", "TimeoutStopSec")
    assert float(limit) >= sum(needed.values())


def test_target_starts_every_kind_of_process() -> None:
    text = (UNITS / "clarion.target").read_text()
    wanted = set(re.findall(r"(clarion-\w+@?)\w*\.service", text))
    assert {f"{name}.service" for name in wanted} == {
        one.name for one in SERVICES if one.name not in {"clarion.service", "clarion-migrate.service"}
    }


@analyzed
async def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for unit in (*SERVICES, UNITS / "clarion.target"):
        text = unit.read_text().replace("/opt/clarion/bin/clarion", str(CLARION))
        (tmp_path / unit.name).write_text(text)
    units = [tmp_path / one.name for one in (*SERVICES, UNITS / "clarion.target")]
    done = await run_program(
        "systemd-analyze", "verify", "--man=no", *units, folder=tmp_path, env={**os.environ}
    )
    assert (done.code, done.err) == (0, "")


@analyzed
@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
async def test_systemd_rates_units_as_hardened(unit: Path) -> None:
    command = ("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
    done = await run_program(*command, folder=UNITS, env={**os.environ})
    found = re.search(r"exposure level .*: (\d+\.\d+)", done.out)
    assert found, done.out + done.err
    assert float(found[1]) < HIGHEST_EXPOSURE


def has_seccomp() -> bool:
    """Return whether this machine has what `sandbox.py` needs."""
    found = next(Path("/usr/lib").glob("*/libseccomp.so.2"), None)
    return found is not None and shutil.which("systemd-analyze") is not None


@contextlib.asynccontextmanager
async def confined(unit: str, folder: Path, env: dict[str, str]) -> AsyncIterator[None]:
    """Run the command of a unit under its filter of system calls, and require that it ends on SIGTERM."""
    path = UNITS / f"{unit}.service"
    [command] = settings(path, "ExecStart")
    words = (str(SANDBOX), str(path), str(CLARION), *command.split()[1:])
    process = await asyncio.create_subprocess_exec(sys.executable, *words, cwd=folder, env=env)
    try:
        yield
    finally:
        process.terminate()
        code = await process.wait()
    assert code == 0, unit


@pytest.mark.long
@pytest.mark.skipif(not has_seccomp(), reason="needs systemd-analyze and libseccomp")
async def test_processes_work_under_the_filters(tmp_path: Path) -> None:
    """Each unit's process, next to the database of a running stack; all get a call through the gateway."""
    async with running_stack(tmp_path / "up") as stack:
        await _check_confined(stack, tmp_path)


async def _check_confined(stack: Stack, folder: Path) -> None:
    server, portal, port = (free_port() for _ in range(3))
    variables = {
        "CLARION_DATABASE_URL": EmbeddedPostgres(stack.data, sockets_folder(stack.data)).url,
        "CLARION_SERVER_LISTEN": f"127.0.0.1:{server}",
        "CLARION_PORTAL_LISTEN": f"127.0.0.1:{portal}",
        "CLARION_PORTAL_SERVERS": f"127.0.0.1:{server}",
        "CLARION_DISPATCH_METRICS": f"127.0.0.1:{free_port()}",
        "CLARION_GATEWAY_PORT": str(port),
        "CLARION_GATEWAY_UPSTREAMS": f"127.0.0.1:{server}",
        "CLARION_GATEWAY_PORTAL": f"127.0.0.1:{portal}",
    }
    env = {**os.environ, **variables}
    command = (sys.executable, SANDBOX, UNITS / "clarion-migrate.service", CLARION, "migrate")
    done = await run_program(*command, folder=folder, env=env)
    assert done.code == 0, done.err
    async with contextlib.AsyncExitStack() as stack_of:
        for unit in ("clarion-server@", "clarion-dispatcher@", "clarion-portal", "clarion-gateway"):
            await stack_of.enter_async_context(confined(unit, folder, env))
        for name in ("server", "dispatcher", "portal", "gateway"):

            async def ready(name: str = name) -> bool:
                return (await clarion(folder, "health", name, **variables)).code == 0

            await until(ready, f"{name} is not ready")
        async with client(stack) as http:
            url = f"http://127.0.0.1:{port}/api/client/campaigns/44/trigger"
            answer = await http.post(url, json=EXAMPLE, headers=stack.headers())
        assert answer.status_code == 204, answer.text
