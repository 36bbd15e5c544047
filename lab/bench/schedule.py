"""`python -m lab.bench.schedule`: how late scheduled triggers are sent while others are accepted.

Exit codes: 0; 2 if the run failed, for example because a trigger was sent early. See docs/benchmarks.md.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ..command import HELP, data_option, log, run_command, temporary_run
from ..errors import LabError
from ..load import BODY, post_all
from ..product import Deployment, Product, product
from ..report import facts, percentile, table, target_met

__all__ = ["main", "measure"]

_TARGET = 1.0
"""Seconds between the `send_at` of a trigger and its attempt, at most."""
_CONNECTIONS = 8
_LEAD = 2.0
"""Seconds between the last call that schedules a trigger and the first `send_at`."""
_LATEST = 30.0
_DELAYS = """
    SELECT extract(epoch FROM attempt.started_at - trigger.send_at)::float8 AS late
    FROM trigger JOIN attempt ON attempt.trigger_id = trigger.id
    WHERE send_at IS NOT NULL AND attempt.number = 1
"""


@click.command(context_settings=HELP)
@click.option("--triggers", type=click.IntRange(1, 100_000), default=1000, help="Scheduled triggers.")
@click.option("--seconds", type=click.IntRange(1, 600), default=20, help="Time span of their `send_at`.")
@click.option("--rate", type=click.IntRange(0, 10_000), default=500, help="Other triggers per second.")
@data_option
def main(**options: Any) -> None:
    """Measure when scheduled triggers are sent while others are accepted and delivered."""
    run_command(_run(**options))


async def _run(*, triggers: int, seconds: int, rate: int, data: Path) -> int:
    load_before = os.getloadavg()[0]
    rows = []
    for others in dict.fromkeys((0, rate)):
        with temporary_run(data) as run:
            log(f"{triggers} triggers scheduled over {seconds} s, {others} other triggers per second")
            async with product(run) as core, core.serving(threads=1) as deployment:
                delays = await measure(core, deployment, triggers, seconds, others)
        rows.append(_row(others, delays))
    worst = max(delays)
    click.echo(f"\n{table(['other triggers/s', 'p50 ms', 'p99 ms', 'longest ms'], rows)}\n")
    verdict = target_met(worst, _TARGET, at_most=True)
    click.echo(f"With others, the latest attempt began {worst:.2f} s after its `send_at`; {verdict}")
    click.echo(f"{triggers} triggers over {seconds} s. {facts(load_before)}")
    return 0


async def measure(
    core: Product, deployment: Deployment, triggers: int, seconds: int, rate: int
) -> list[float]:
    """Return how late each scheduled trigger was sent.

    Args:
        core: the product, without a dispatcher.
        deployment: its servers and gateway.
        triggers: number of scheduled triggers.
        seconds: the time span of their `send_at`.
        rate: other triggers per second meanwhile.

    Returns:
        Seconds between `send_at` and the first attempt.

    Raises:
        LabError: a trigger was sent early, or never.
    """
    await core.clear()
    async with core.dispatching():
        first = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=_LEAD + triggers / 500)
        times = [first + dt.timedelta(seconds=seconds * n / triggers) for n in range(triggers)]
        bodies = [json.dumps({**json.loads(BODY), "send_at": time.isoformat()}).encode() for time in times]
        await post_all(deployment.port, core.key, bodies, connections=_CONNECTIONS)
        await _sleep_until(first)
        others = [BODY.encode()] * (rate * seconds)
        await post_all(deployment.port, core.key, others, connections=_CONNECTIONS, rate=rate)
        await _sleep_until(times[-1])
        delays = await _delays(core, triggers)
    if min(delays) < 0:
        raise LabError(f"a trigger was sent {-min(delays):.3f} s before its `send_at`")
    return delays


async def _sleep_until(moment: dt.datetime) -> None:
    await asyncio.sleep(max(0.0, (moment - dt.datetime.now(dt.UTC)).total_seconds()))


async def _delays(core: Product, triggers: int) -> list[float]:
    """Poll until every scheduled trigger was attempted; return the seconds that each was late."""
    try:
        async with asyncio.timeout(_LATEST):
            while len(rows := await core.rows(_DELAYS)) < triggers:  # noqa: ASYNC110 - rows raise no event
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise LabError(f"only {len(rows)} of {triggers} triggers were sent") from None
    return [row["late"] for row in rows]


def _row(others: int, delays: Sequence[float]) -> list[str]:
    cuts = (percentile(delays, 50), percentile(delays, 99), max(delays))
    return [str(others), *(f"{cut * 1000:.0f}" for cut in cuts)]


if __name__ == "__main__":
    main()
