"""Runs phases under load: processes are killed, the dispatcher is stopped, the mail server hangs."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field

from ..command import log
from ..errors import LabError
from .load import RecordedLoad
from .system import ANSWER_TIMEOUT, TARGETS, System
from .verdict import Kill, Lost, Verdict, judge

__all__ = ["MOST_COPIES", "Phase", "Plan", "hang_phase", "kill_phase", "stop_phase"]

MOST_COPIES = 2
"""How often a recipient may get a message if the mail server hangs: it is repeated once."""
_DRAIN_SECONDS = 180.0
_LOST = """
    SELECT trigger_id::text, extract(epoch FROM started_at)::float8 AS begun, duration FROM attempt
    WHERE outcome IN ('lost', 'in_doubt') AND started_at >= $1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The options of a run."""

    seed: int
    kills: int = 50
    """Number of rounds that kill something."""
    stops: int = 10
    """Number of rounds that stop the dispatcher with SIGTERM."""
    hangs: int = 3
    """Number of rounds in which the mail server hangs for longer than the provider's timeout."""
    targets: tuple[str, ...] = ("dispatcher", "server", "both")
    callers: int = 6
    longest: float = 4.0
    """Seconds under load before a kill, at most."""
    least: int = 0
    """Number of calls that must be accepted before a phase ends."""


@dataclass(slots=True)
class Phase:
    """What a phase did, and its verdict."""

    load: RecordedLoad
    rounds: Counter[str] = field(default_factory=Counter)
    """Number of rounds by the process that they killed or stopped."""
    begun: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    kills: list[Kill] = field(default_factory=list)
    """Kills of processes that send messages or record attempts, and hangs of the mail server."""
    verdict: Verdict | None = None


async def kill_phase(system: System, plan: Plan, chance: random.Random, name: str = "kill") -> Phase:
    """Repeatedly kill random processes and restart them; each phase of a system needs another name.

    Raises:
        LabError: a process did not restart, too few calls were accepted, or the queue did not drain.
    """
    phase = Phase(RecordedLoad(system, name))
    async with phase.load.running(plan.callers):
        for number in range(1, plan.kills + 1):
            await asyncio.sleep(chance.uniform(0.2, plan.longest))
            target = chance.choice(plan.targets)
            back = await _kill(system, phase, target)
            _log_round(phase, number, plan.kills, f"killed {target}, restarted after {back:.1f} s")
        await phase.load.until_accepted(plan.least)
    await _judge(system, phase)
    return phase


async def stop_phase(system: System, plan: Plan, chance: random.Random) -> Phase:
    """Repeatedly stop the dispatcher with SIGTERM and restart it.

    Raises:
        LabError: the dispatcher did not end in an orderly way, or the queue did not drain.
    """
    phase, dispatcher = Phase(RecordedLoad(system, "stop")), system.processes["dispatcher"]
    async with phase.load.running(plan.callers):
        for number in range(1, plan.stops + 1):
            await asyncio.sleep(chance.uniform(0.2, plan.longest / 2))
            begun = time.monotonic()
            await dispatcher.end(signal.SIGTERM)
            seconds = time.monotonic() - begun
            await dispatcher.start()
            phase.rounds["dispatcher"] += 1
            _log_round(phase, number, plan.stops, f"the dispatcher ended within {seconds:.1f} s")
        await phase.load.until_accepted(plan.least)
    await _judge(system, phase)
    return phase


async def hang_phase(system: System, plan: Plan, chance: random.Random) -> Phase:
    """Repeatedly suspend the mail server for longer than the provider's timeout, and let it continue.

    Messages that it received and did not answer are in doubt: they are held and repeated once.

    Raises:
        LabError: the queue did not drain.
    """
    phase, mail_server = Phase(RecordedLoad(system, "hang")), system.processes["mail server"]
    async with phase.load.running(plan.callers):
        for number in range(1, plan.hangs + 1):
            await asyncio.sleep(chance.uniform(0.2, plan.longest / 2))
            begun = time.time()
            mail_server.send_signal(signal.SIGSTOP)
            await asyncio.sleep(2 * ANSWER_TIMEOUT)
            mail_server.send_signal(signal.SIGCONT)
            phase.kills.append(Kill(begun, time.time()))
            phase.rounds["mail server"] += 1
            _log_round(phase, number, plan.hangs, f"the mail server hung for {2 * ANSWER_TIMEOUT:g} s")
        await phase.load.until_accepted(plan.least)
    await _judge(system, phase, MOST_COPIES)
    return phase


async def _kill(system: System, phase: Phase, target: str) -> float:
    """Kill one or more processes at the same time; return the seconds until they are ready again."""
    processes = [system.processes[name] for name in TARGETS[target]]
    begun, since = time.time(), time.monotonic()
    await asyncio.gather(*(process.end(signal.SIGKILL) for process in processes))
    for process in processes:
        restarted = time.time()
        await process.start()
    if target != "server":
        phase.kills.append(Kill(begun, restarted))
    phase.rounds[target] += 1
    return time.monotonic() - since


async def _judge(system: System, phase: Phase, most_copies: int | None = None) -> None:
    """Wait until the queue is empty, and compare what arrived with what was accepted."""
    if left := await system.drain(_DRAIN_SECONDS):
        raise LabError(f"{left} triggers are still queued {_DRAIN_SECONDS:g} s after the last call")
    rows = await system.product.rows(_LOST, phase.begun)
    lost = [Lost(row["trigger_id"], row["begun"], row["begun"] + row["duration"]) for row in rows]
    mails = system.mails(f"{phase.load.name}-")
    phase.verdict = judge(phase.load.accepted, mails, lost, phase.kills, most_copies)


def _log_round(phase: Phase, number: int, rounds: int, text: str) -> None:
    log(f"{number}/{rounds}: {text}; {len(phase.load.accepted)} calls accepted so far")
