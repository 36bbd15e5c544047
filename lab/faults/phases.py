"""The two phases: processes that are killed, and a dispatcher that is asked to end; both under load."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from ..product.faults_sink import read_mails
from ..product.product import Product
from .load import Load
from .plan import VICTIMS, FaultsError, Plan
from .verdict import Kill, Lost, Verdict, judge

__all__ = ["Phase", "kill_phase", "stop_phase"]

_DRAIN_SECONDS = 60.0
_LOST = """
    SELECT trigger_id::text, extract(epoch FROM started_at)::float8 AS begun, duration FROM attempt
    WHERE outcome = 'lost' AND started_at >= $1
"""

Say = Callable[[str], None]


@dataclass(slots=True)
class Phase:
    """What was done in a phase, and what came of it."""

    load: Load
    done: Counter[str] = field(default_factory=Counter)
    """How often what was ended."""
    begun: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    kills: list[Kill] = field(default_factory=list)
    """Of what sends or records."""
    verdict: Verdict | None = None


async def kill_phase(product: Product, plan: Plan, chance: random.Random, say: Say) -> Phase:
    """Kill a random one again and again, and start it again.

    Raises:
        FaultsError: something did not start again, or deliveries do not come to an end.
    """
    phase = Phase(Load(product, "kill"))
    async with phase.load.running(plan):
        for number in range(1, plan.rounds + 1):
            await asyncio.sleep(chance.uniform(0.2, plan.longest))
            victim = chance.choice(plan.victims)
            back = await _kill(product, phase, victim)
            say(f"{number}/{plan.rounds}: killed {victim}, back after {back:.1f} s; {_so_far(phase)}")
    await _judge(product, phase)
    return phase


async def stop_phase(product: Product, plan: Plan, chance: random.Random, say: Say) -> Phase:
    """End the dispatcher by SIGTERM again and again, and start it again.

    Raises:
        FaultsError: it did not end orderly, or deliveries do not come to an end.
    """
    phase, dispatcher = Phase(Load(product, "stop")), product.members["dispatcher"]
    async with phase.load.running(plan):
        for number in range(1, plan.stops + 1):
            await asyncio.sleep(chance.uniform(0.2, plan.longest / 2))
            begun = time.monotonic()
            dispatcher.tell(signal.SIGTERM)
            await dispatcher.ended(signal.SIGTERM)
            ended = time.monotonic() - begun
            await dispatcher.start()
            phase.done["dispatcher"] += 1
            say(f"{number}/{plan.stops}: the dispatcher ended within {ended:.1f} s; {_so_far(phase)}")
    await _judge(product, phase)
    return phase


async def _kill(product: Product, phase: Phase, victim: str) -> float:
    """Kill one or several at once; return the seconds until they work again."""
    members = [product.members[name] for name in VICTIMS[victim]]
    begun, since = time.time(), time.monotonic()
    for member in members:
        member.tell(signal.SIGKILL)
    await asyncio.gather(*(member.ended(signal.SIGKILL) for member in members))
    for member in members:
        restarted = time.time()
        await member.start()
    if victim != "server":
        phase.kills.append(Kill(begun, restarted))
    phase.done[victim] += 1
    return time.monotonic() - since


async def _judge(product: Product, phase: Phase) -> None:
    """Wait until all is delivered, and hold it against what was promised."""
    if left := await product.until_idle(_DRAIN_SECONDS):
        raise FaultsError(f"{left} triggers are not delivered {_DRAIN_SECONDS:g} s after the last one came")
    rows = await product.rows(_LOST, phase.begun)
    lost = [Lost(row["trigger_id"], row["begun"], row["begun"] + row["duration"]) for row in rows]
    mails = [mail for mail in read_mails(product.mails) if mail.subject.startswith(f"{phase.load.name}-")]
    phase.verdict = judge(phase.load.accepted, mails, lost, phase.kills)


def _so_far(phase: Phase) -> str:
    return f"{len(phase.load.accepted)} accepted so far"
