"""`python -m lab.bench.viewers`: what live tails in the portal cost the triggers. See docs/benchmarks.md.

Triggers arrive as fast as they are accepted, with a dispatcher, alternately without viewers, with viewers of
one list, and with viewers who each filter for something else. Exit codes: 0; 2 if the run failed.
"""

from __future__ import annotations

import asyncio
import os
import statistics
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from portal.live import UP_TO_DATE

from ..command import HELP, data_option, log, run_command
from ..cpu import CpuMeter
from ..errors import LabError
from ..load import LOADERS, Loader, make_loader
from ..product import NO_LIMITS, Deployment, Product, product
from ..report import facts, median_ratio, spread, table, target_met
from .portal import signed_in
from .portal_store import Size, fill_once, filled_run, keep_option

__all__ = ["NO_VIEWERS", "VARIANTS", "as_text", "main", "measure"]

TARGET = 1.05
"""CPU of the trigger path for each trigger, with viewers, as a multiple of that without."""
NO_VIEWERS, SAME, DIFFERENT = "no viewers", "viewers of one list", "viewers of different lists"
VARIANTS = (NO_VIEWERS, SAME, DIFFERENT)
_PATH = ("envoy", "server", "postgres", "dispatcher")
_CONNECTIONS = 16
_TAILS_OF_A_PERSON = 10
"""As many as one session may have (portal/shares.py)."""
_MAX_EVENTS = 1 << 20
"""Bytes of the rows with which a tail begins."""
_FILTERS = (
    "state=delivered",
    "state=dead",
    "campaign_id=44",
    "channel=email",
    "error=refused",
    "q=customer-%d",
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One variant in one round."""

    rate: float
    """Accepted triggers per second."""
    cpu_us: Mapping[str, float]
    """CPU microseconds per accepted trigger, by role."""
    received: int
    """Bytes that the viewers received."""

    @property
    def path_us(self) -> float:
        """CPU microseconds of the trigger path per trigger."""
        return sum(self.cpu_us[role] for role in _PATH)


Samples = Mapping[str, Sequence[Sample]]


@click.command(context_settings=HELP)
@click.option("--viewers", type=click.IntRange(1, 100), default=20)
@click.option("--rounds", type=click.IntRange(1, 100), default=7)
@click.option("--seconds", type=click.IntRange(1, 60), default=5, help="Of each variant in each round.")
@click.option("--deliveries", type=click.IntRange(100, 10_000_000), default=200_000, help="Already there.")
@click.option("--loader", type=click.Choice(LOADERS), default=LOADERS[0], help="The load generator.")
@data_option
@keep_option
def main(**options: Any) -> None:
    """Measure triggers with and without viewers of live tails."""
    run_command(_run(**options))


async def _run(
    *, viewers: int, rounds: int, seconds: int, deliveries: int, loader: str, data: Path, keep: Path | None
) -> int:
    load_before = os.getloadavg()[0]
    with filled_run(data, keep) as run:
        load = make_loader(loader, run.data, "", _CONNECTIONS)  # fails before anything is started
        async with product(run) as core:
            load = make_loader(loader, run.data, core.key, _CONNECTIONS)
            await fill_once(
                core.database_url, Size(deliveries=deliveries, dead_letters=deliveries // 10), run
            )
            samples = await measure(core, load, viewers, rounds, seconds)
    click.echo(f"\n{as_text(samples)}\n\n{viewers} viewers; {rounds} rounds. {facts(load_before)}")
    return 0


async def measure(core: Product, load: Loader, viewers: int, rounds: int, seconds: float) -> Samples:
    """Measure each variant in each round.

    Args:
        core: The product, without servers.
        load: Sends triggers.
        viewers: How many people watch.
        rounds: The number of rounds.
        seconds: Of each variant in each round.
    """
    samples: dict[str, list[Sample]] = {variant: [] for variant in VARIANTS}
    async with (
        core.serving(portal=True, **NO_LIMITS) as deployment,
        core.dispatching() as dispatcher,
        AsyncExitStack() as people,
    ):
        running = deployment.with_dispatcher(dispatcher)
        cookies = []
        for number in range(-(-viewers // _TAILS_OF_A_PERSON)):
            browser = await people.enter_async_context(signed_in(core, deployment.port, f"lab {number}"))
            cookies.append("; ".join(f"{one.name}={one.value}" for one in browser.cookies.jar))
        for number in range(rounds):
            turn = number % len(VARIANTS)
            for variant in (*VARIANTS[turn:], *VARIANTS[:turn]):  # each is first, second and last as often
                async with _watching(running.port, cookies, _lists(variant, viewers)) as tails:
                    sample = await _sample(running, load, seconds, tails)
                samples[variant].append(sample)
                log(f"round {number + 1}/{rounds}  {variant:<27} {sample.rate:6.0f}/s")
    return samples


def as_text(samples: Samples) -> str:
    """Return the report."""
    roles = (*_PATH, "portal")
    rows = []
    for variant in VARIANTS:
        found = samples[variant]
        cpu = [f"{statistics.median(one.cpu_us[role] for one in found):.0f}" for role in roles]
        rates = [one.rate for one in found]
        ratios = [
            median_ratio([one.rate for one in found], [one.rate for one in samples[NO_VIEWERS]]),
            _cost(samples, variant),
        ]
        received = statistics.median(one.received for one in found) / 1000
        rows.append(
            [
                variant,
                f"{statistics.median(rates):.0f}",
                spread(rates),
                *cpu,
                *(f"{one:.2f}" for one in ratios),
                f"{received:.0f}",
            ]
        )
    heads = ["", "triggers/s", "lowest-highest", *(f"{role} µs" for role in roles)]
    heads += ["ratio of triggers/s", "ratio of CPU", "kB received"]
    verdict = target_met(max(_cost(samples, one) for one in VARIANTS), TARGET, at_most=True)
    return f"{table(heads, rows)}\n\nCPU of the trigger path with viewers: {verdict}"


def _cost(samples: Samples, variant: str) -> float:
    return median_ratio(
        [one.path_us for one in samples[variant]], [one.path_us for one in samples[NO_VIEWERS]]
    )


def _lists(variant: str, viewers: int) -> list[str]:
    """Return what each viewer filters for."""
    if variant == NO_VIEWERS:
        return []
    if variant == SAME:
        return [""] * viewers
    return [
        _FILTERS[number % len(_FILTERS)].replace("%d", str(number))
        + f"&accepted_since=2020-01-{number % 28 + 1:02}"  # so that no two are the same
        for number in range(viewers)
    ]


class _Tails:
    """Reads streams until they are cancelled."""

    def __init__(self) -> None:
        self.received = 0

    async def read(self, port: int, cookie: str, query: str, opened: asyncio.Event) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=_MAX_EVENTS)
        try:
            head = f"GET /portal/live/deliveries?{query} HTTP/1.1\r\nhost: lab\r\ncookie: {cookie}\r\n\r\n"
            writer.write(head.encode())
            status = await reader.readline()
            if b" 200 " not in status:
                raise LabError(f"a live tail was answered with {status.decode().strip()}")
            await reader.readuntil(UP_TO_DATE.encode())
            opened.set()
            while part := await reader.read(1 << 16):
                self.received += len(part)
            raise LabError("a live tail ended")
        finally:
            writer.close()


@asynccontextmanager
async def _watching(port: int, cookies: Sequence[str], lists: Sequence[str]) -> AsyncIterator[_Tails]:
    """Follow these lists for the block, with the cookies of enough people."""
    tails = _Tails()
    async with AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        opened = [asyncio.Event() for _ in lists]
        tasks = [
            group.create_task(tails.read(port, cookies[number // _TAILS_OF_A_PERSON], query, event))
            for number, (query, event) in enumerate(zip(lists, opened, strict=True))
        ]
        for event in opened:  # opening a tail costs more than following it
            await event.wait()
        yield tails
        for task in tasks:
            task.cancel()


async def _sample(deployment: Deployment, load: Loader, seconds: float, tails: _Tails) -> Sample:
    meter, before = CpuMeter(deployment.pids), tails.received
    found = await load.run(deployment.port, seconds)
    if found.bad or found.broken:
        raise LabError(f"{found.bad + found.broken} triggers were not accepted")
    cpu = {role: used * 1e6 / found.answers for role, used in meter.used().items()}
    return Sample(found.answers / found.seconds, cpu, tails.received - before)


if __name__ == "__main__":
    main()
