"""`python -m lab.bench.schedule`: how late scheduled triggers are sent while others come.

See docs/benchmarks.md.

Exit 0; 2 if something is missing or wrong, such as a trigger that was sent before its time.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
import click

from server.up.data_folder import RunDir

from ..product.bench_stand import Clarion, clarion
from .command import data_option, own_folder, run_bench, say
from .figures import facts, met, percentile, table
from .load import head_of
from .plan import BODY, PATH, BenchError, Plan

__all__ = ["main"]

_TARGET = 1.0
"""Seconds after its time at which the last one's attempt has begun."""
_CONNECTIONS = 8
_LEAD = 2.0
"""Seconds from the last call that schedules to the first moment."""
_LATE = 30.0
_DELAYS = """
    SELECT extract(epoch FROM attempt.started_at - trigger.send_at)::float8 AS late
    FROM trigger JOIN attempt ON attempt.trigger_id = trigger.id
    WHERE send_at IS NOT NULL AND attempt.number = 1
"""


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--triggers", type=click.IntRange(1, 100_000), default=1000, help="Scheduled ones.")
@click.option("--seconds", type=click.IntRange(1, 600), default=20, help="Over which they are spread.")
@click.option("--rate", type=click.IntRange(0, 10_000), default=500, help="Other triggers a second.")
@data_option
def main(**options: Any) -> None:
    """Measure when scheduled triggers are sent while others are accepted and delivered."""
    sys.exit(run_bench(_measure(**options)))


async def _measure(*, triggers: int, seconds: int, rate: int, data: Path) -> int:
    load_before = os.getloadavg()[0]
    rows = []
    for others in dict.fromkeys((0, rate)):
        with own_folder(data) as run:
            say(f"{triggers} scheduled over {seconds} s, beside {others} others a second")
            delays, came = await _delays(run, triggers, seconds, others)
        if min(delays) < 0:
            raise BenchError(f"one was sent {-min(delays):.3f} s before its time")
        rows.append(_row(others, came / seconds, delays))
    worst = max(delays)
    click.echo(f"\n{table(['others', 'others/s', 'p50 ms', 'p99 ms', 'longest ms'], rows)}\n")
    click.echo(f"Beside others the last began {worst:.2f} s after its time; {met(worst < _TARGET, _TARGET)}")
    click.echo(f"{triggers} triggers over {seconds} s. {facts(load_before)}")
    return 0


def _row(others: int, rate: float, delays: Sequence[float]) -> list[str]:
    cuts = (percentile(delays, 50), percentile(delays, 99), max(delays))
    return [f"{others}/s asked for", f"{rate:.0f}", *(f"{cut * 1000:.0f}" for cut in cuts)]


async def _delays(run: RunDir, triggers: int, seconds: int, rate: int) -> tuple[list[float], int]:
    """Return by how much each was late, in seconds, and how many others were accepted meanwhile."""
    plan = Plan(
        seconds=1, rounds=1, warmup=0, connections=1, processes=1, envoy_threads=1, loader="builtin",
        data=Path(run.data),
    )  # fmt: skip
    async with clarion(plan, run) as product, product.dispatching():
        await product.clear()
        first = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=_LEAD + triggers / 500)
        moments = [first + dt.timedelta(seconds=seconds * n / triggers) for n in range(triggers)]
        bodies = [json.dumps({**json.loads(BODY), "send_at": moment.isoformat()}) for moment in moments]
        await _post(product, bodies, rate=0.0)
        await asyncio.sleep(max(0.0, (first - dt.datetime.now(dt.UTC)).total_seconds()))
        others = [BODY] * (rate * seconds)
        await _post(product, others, rate=rate)
        left = (moments[-1] - dt.datetime.now(dt.UTC)).total_seconds()
        await asyncio.sleep(max(0.0, left))
        return await _found(product, triggers), len(others)


async def _post(product: Clarion, bodies: Sequence[str], *, rate: float) -> None:
    """Send bodies over some connections, so many a second; 0: as fast as they are answered."""
    parts = [bodies[number::_CONNECTIONS] for number in range(_CONNECTIONS)]
    await asyncio.gather(*(_connection(product, part, rate / _CONNECTIONS) for part in parts))


async def _connection(product: Clarion, bodies: Sequence[str], rate: float) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", product.port)
    begun = time.monotonic()
    for number, body in enumerate(bodies):
        if rate:
            await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
        writer.write(head_of(PATH, product.key, len(body)) + body.encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 204"):
            raise BenchError(f"a good trigger is answered with {answer[9:12].decode()}, not 204")
    writer.close()


async def _found(product: Clarion, triggers: int) -> list[float]:
    """Wait until all have been attempted, of which nothing is told; return by how much each was late.

    Raises:
        BenchError: some never were.
    """
    connection = await asyncpg.connect(product.url)
    try:
        async with asyncio.timeout(_LATE):
            while len(rows := await connection.fetch(_DELAYS)) < triggers:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise BenchError(f"only {len(rows)} of {triggers} were sent") from None
    finally:
        await connection.close()
    return [row["late"] for row in rows]


if __name__ == "__main__":
    main()
