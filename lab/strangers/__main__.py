"""`python -m lab.strangers`: how attacks affect the calls of a valid key. See docs/benchmarks.md.

Exit codes: 0; 1 if a target was missed; 2 if the run failed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path

import click

from ..command import HELP, data_option, run_command, temporary_run
from ..cpu import CpuMeter
from ..load import BODY, PATH, Connection
from ..process import Process, lab_process
from ..product import Product, product
from ..report import percentile, table
from .attacks import ATTACKS
from .keyed import KEYED_ATTACKS, write_campaigns

__all__ = ["main"]

_ALL = [*ATTACKS, *KEYED_ATTACKS]
_RATE = 10
_PATIENCE = 30.0
"""Seconds after which a call fails; how long it took is compared with other calls on this machine."""
# Triggers that are not delivered yet count as delivered now.
_DELIVERY_MS = """
    SELECT 1000 * percentile_cont(0.5) WITHIN GROUP (
        ORDER BY coalesce(
            extract(epoch FROM a.started_at) + a.duration, extract(epoch FROM clock_timestamp())
        )
        - extract(epoch FROM t.accepted_at)
    )
    FROM trigger t LEFT JOIN attempt a ON a.trigger_id = t.id AND a.outcome = 'delivered'
    WHERE t.project_id = $1 AND t.accepted_at >= $2
"""
_SETTLE_SECONDS = 2.0
MIN_SHARE = 0.99
"""The minimum share of the valid key's triggers that must be accepted."""
MAX_SLOWDOWN = 3.0
"""The maximum ratio of the 99th percentile during the attack to that next to an equally busy process."""


@dataclass(frozen=True, slots=True)
class Served:
    """How the calls of the valid key were answered."""

    sent: int
    accepted: int
    p99_ms: float
    delivery_ms: float = 0.0
    """Median milliseconds from a trigger's commit to its delivery; 0 if not measured."""

    @property
    def share(self) -> float:
        """The share of triggers that were accepted."""
        return self.accepted / self.sent


@dataclass(frozen=True, slots=True)
class Result:
    """An attack, and the answers to the valid key's calls before, during and after it."""

    attack: str
    quiet: Served
    attacked: Served
    baseline: Served
    """Without the attack, but next to a process that uses as much CPU as the attacker did."""
    attacker_cpu: float
    """The share of one CPU that the attacker used."""

    @property
    def met(self) -> bool:
        """Whether all targets were met."""
        late = self.attacked.delivery_ms > MAX_SLOWDOWN * self.baseline.delivery_ms
        slow = late or self.attacked.p99_ms > MAX_SLOWDOWN * self.baseline.p99_ms
        return self.attacked.share >= MIN_SHARE and not slow


@click.command(context_settings=HELP)
@click.option("--seconds", type=click.IntRange(2, 600), default=15, help="Length of each phase.")
@click.option("--attack", "names", type=click.Choice(_ALL), multiple=True, help="Repeatable.  [default: all]")
@data_option
def main(*, seconds: int, names: Sequence[str], data: Path) -> None:
    """Attack without a key or with another project's key, and measure the calls of a valid key."""
    run_command(_run(names or _ALL, seconds, data), name="strangers")


async def _run(names: Sequence[str], seconds: int, data: Path) -> int:
    results = []
    with temporary_run(data) as run:
        async with product(run) as made, made.serving() as deployment, made.dispatching():
            other = await made.with_campaigns(write_campaigns(run.log), {})
            for name in names:
                options = (name, deployment.port, other.key)
                attacker = lab_process("attack", run.log, "strangers.attacks", *options, ready="attacking")
                results.append(await _compare(name, made, deployment.port, attacker, seconds))
                click.echo(attacker.log.read_text().splitlines()[-1], err=True)
    click.echo(as_table(results))
    return 0 if all(result.met for result in results) else 1


async def _compare(name: str, made: Product, port: int, attacker: Process, seconds: float) -> Result:
    """Measure the valid key before and during an attack, and next to a process as busy as the attacker."""
    quiet = await _measure(made, port, seconds)
    async with attacker.running():
        await asyncio.sleep(_SETTLE_SECONDS)
        cpu, began = CpuMeter({"attacker": [attacker.pid]}), time.monotonic()
        attacked = await _measure(made, port, seconds)
        share = cpu.used()["attacker"] / (time.monotonic() - began)
    await asyncio.sleep(_SETTLE_SECONDS)
    busy = lab_process("busy", made.run.log, "strangers.busy", share, ready="busy")
    async with busy.running():
        baseline = await _measure(made, port, seconds)
    return Result(name, quiet, attacked, baseline, share)


async def _measure(made: Product, port: int, seconds: float) -> Served:
    """Send triggers with the valid key, and also measure their deliveries."""
    [(since,)] = await made.rows("SELECT clock_timestamp()")
    served = await serve_good_key(port, made.key, seconds)
    [(delivery_ms,)] = await made.rows(_DELIVERY_MS, made.project_id, since)
    return replace(served, delivery_ms=float(delivery_ms or 0.0))


async def serve_good_key(port: int, key: str, seconds: float) -> Served:
    """Send 10 triggers a second with the valid key, each on a new connection."""
    started = time.monotonic()
    calls = []
    for number in range(round(seconds * _RATE)):
        await asyncio.sleep(max(0.0, started + number / _RATE - time.monotonic()))
        calls.append(asyncio.create_task(_call(port, key)))
    answers = await asyncio.gather(*calls)
    accepted = sum(accepted for accepted, _ in answers)
    return Served(len(answers), accepted, percentile([took for _, took in answers], 99) * 1000)


async def _call(port: int, key: str) -> tuple[bool, float]:
    """Return whether a trigger was accepted, and after how many seconds it was answered."""
    connection = Connection(port, key)
    started = time.monotonic()
    try:
        async with asyncio.timeout(_PATIENCE):
            answer = await connection.post(PATH, BODY.encode())
            accepted = answer.status == HTTPStatus.NO_CONTENT
    except (TimeoutError, ConnectionError):
        accepted = False
    finally:
        connection.close()
    return accepted, time.monotonic() - started


def as_table(results: Sequence[Result]) -> str:
    """Return a Markdown table of the results."""
    heads = (
        "attack",
        "accepted, quiet",
        "accepted",
        "attacker's CPU",
        "p99 quiet, ms",
        "p99 at this CPU, ms",
        "p99, ms",
        "ratio",
        "delivery at this CPU, ms",
        "delivery, ms",
        "met",
    )
    return table(
        heads,
        (
            (
                one.attack,
                f"{one.quiet.share:.1%}",
                f"{one.attacked.share:.1%}",
                f"{one.attacker_cpu:.0%}",
                f"{one.quiet.p99_ms:.1f}",
                f"{one.baseline.p99_ms:.1f}",
                f"{one.attacked.p99_ms:.1f}",
                f"{one.attacked.p99_ms / one.baseline.p99_ms:.1f}",
                f"{one.baseline.delivery_ms:.1f}",
                f"{one.attacked.delivery_ms:.1f}",
                "yes" if one.met else "NO",
            )
            for one in results
        ),
    )


if __name__ == "__main__":
    main()
