"""Scenarios around the gateway: a server hangs; the gateway or its Envoy is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from gateway.run.admin import healthy_upstreams
from gateway.run.shared_memory import ID_FILE, SHARED_MEMORY
from server.up.data_folder import RunDir

from ..errors import LabError
from ..process import Process, free_port, until
from ..product import Product, product
from .finding import Finding, finding
from .load import RecordedLoad
from .system import LATENCY_TARGET, MAILS, System

__all__ = ["CALLERS", "LEAVE_LIMIT", "RESTART_LIMIT", "hung_server", "killed_gateway"]

CALLERS = 12
LEAVE_LIMIT = 2.0
"""Seconds until Envoy stops calling a hung server: 1.5, and half a second because the machine is busy."""
RESTART_LIMIT = 10.0
"""Seconds from the death of Envoy to the next 204."""
_LOADED = 15.0
"""Seconds under load with the hung server: three times as long as a call may take."""
_BEFORE = 100
_KILLS = 3
_PATIENCE = 60.0


async def hung_server(run: RunDir) -> Finding:
    """Suspend one of two servers under load, and let it continue.

    Each caller may have one call at the server when it hangs. All other calls must be accepted.

    Raises:
        LabError: The product does not accept calls.
    """
    async with product(run) as core, core.serving(servers=2, latency_target=LATENCY_TARGET) as deployment:
        load = _load(core, deployment.port, "hung")
        hung = deployment.servers[1]
        admin = run.socket(f"envoy-{deployment.port}.sock")
        path = deployment.addresses[1].removeprefix("unix:")
        async with load.running(CALLERS):
            await load.until_accepted(_BEFORE)
            before = load.refused.total()
            hung.send_signal(signal.SIGSTOP)
            try:
                seconds = await _until_used(admin, path, used=False)
                await asyncio.sleep(_LOADED)
            finally:
                hung.send_signal(signal.SIGCONT)
            failed = load.refused.total() - before
            back = await _until_used(admin, path, used=True)
        missing = await _missing(core, load)
    return finding(
        "hung server",
        {"accepted": len(load.accepted), "left after (s)": seconds, "failed calls": failed}
        | {"missing": missing, "used again after (s)": back},
        {
            f"Envoy leaves the server within {LEAVE_LIMIT:g} s": seconds <= LEAVE_LIMIT,
            f"at most {CALLERS} calls fail, one for each caller": failed <= CALLERS,
            "no accepted trigger is missing": not missing,
        },
    )


async def killed_gateway(run: RunDir) -> Finding:
    """Kill `clarion gateway run` several times, then its Envoy; count what is left behind.

    Raises:
        LabError: The gateway does not serve within a minute.
    """
    temporary = run.data / "temporary"
    temporary.mkdir(mode=0o700)
    memories: set[str] = set()
    async with product(run) as core, core.serving() as deployment:
        port = free_port()
        process = core.gateway_process(port, deployment.addresses, {"TMPDIR": str(temporary)})
        load = _load(core, port, "killed")
        survivors, most = 0, 0
        try:
            for _ in range(_KILLS):
                await _start(process, load)
                memories |= _memories(temporary)
                survivors += not await _kill(process)
            await _start(process, load)
            most = len(list(temporary.iterdir()))
            restarted = await _kill_envoy(process, load)
            memories |= _memories(temporary)
        finally:
            await process.stop()
        left = [*temporary.iterdir(), *(SHARED_MEMORY / name for name in memories if _exists(name))]
        missing = await _missing(core, load)
    figures = {"kills": _KILLS, "folders at the next start": most, "left at the end": len(left)}
    return finding(
        "killed gateway",
        figures | {"Envoys that outlived it": survivors, "204 after Envoy's death (s)": restarted},
        {
            "the next start removes the folders of killed gateways": most == 1,
            "nothing is left in the temporary folder and in shared memory": not left,
            "Envoy ends with the gateway": not survivors,
            f"a killed Envoy is replaced within {RESTART_LIMIT:g} s": restarted <= RESTART_LIMIT,
            "no accepted trigger is missing": not missing,
        },
    )


def _load(core: Product, port: int, name: str) -> RecordedLoad:
    processes: Mapping[str, Process] = {}
    return RecordedLoad(System(core, port, processes, core.run.data / MAILS), name)


async def _until_used(admin: Path, path: str, *, used: bool) -> float:
    """Return the seconds until Envoy calls the server, or does not; at most a minute."""
    begun = time.monotonic()
    while (path in await healthy_upstreams(admin, "server")) is not used:
        await asyncio.sleep(0.02)
        if time.monotonic() - begun > _PATIENCE:
            break
    return time.monotonic() - begun


async def _missing(core: Product, load: RecordedLoad) -> int:
    stored = {str(row["id"]) for row in await core.rows("SELECT id FROM trigger")}
    return len(set(load.accepted.values()) - stored)


async def _start(process: Process, load: RecordedLoad) -> None:
    """Start the gateway, and call it until it has surely found that its Envoy is ready."""
    await process.start()
    await _next_accepted(load)
    async with load.running(CALLERS):
        await load.until_accepted(len(load.accepted) + _BEFORE)


async def _next_accepted(load: RecordedLoad) -> float:
    """Call until a call is accepted; return the seconds that it took.

    Raises:
        LabError: None was accepted within a minute.
    """
    begun, accepted = time.monotonic(), len(load.accepted)
    while len(load.accepted) == accepted:
        await load.at_once(1)
        await asyncio.sleep(0.02)
        if time.monotonic() - begun > _PATIENCE:
            raise LabError(f"the gateway accepts nothing; answers: {dict(load.refused)}")
    return time.monotonic() - begun


async def _kill(process: Process) -> bool:
    """Kill the gateway; return whether its Envoy ended with it."""
    envoys = _children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    ended = await until(lambda: not any(map(_runs, envoys)), _PATIENCE, every=0.02)
    await process.end(signal.SIGKILL)
    return ended


async def _kill_envoy(process: Process, load: RecordedLoad) -> float:
    """Kill the gateway's Envoy; return the seconds until a call is accepted."""
    [envoy] = _children(process.pid)
    os.kill(envoy, signal.SIGKILL)
    await until(lambda: not _runs(envoy), _PATIENCE)
    return await _next_accepted(load)


def _children(pid: int) -> list[int]:
    files = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in files for child in file.read_text().split()]


def _runs(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def _memories(temporary: Path) -> set[str]:
    """Return the names of the shared memory of Envoys whose files are in this folder."""
    ids = (file.read_text().strip() for file in temporary.glob(f"*/{ID_FILE}"))
    return {f"envoy_shared_memory_{base_id}0" for base_id in ids}


def _exists(name: str) -> bool:
    return (SHARED_MEMORY / name).exists()
