"""`python -m lab.bench.portal`: how long every page of the portal takes with millions of deliveries.

See docs/benchmarks.md. Exit codes: 0; 1 if a page misses the target; 2 if the run failed.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html import unescape
from http import HTTPStatus
from pathlib import Path

import asyncpg
import click
import httpx

from server.domain.operator import Grant, Role, new_admin_secret
from server.store.admin.operators import create_key

from ..command import HELP, data_option, log, run_command
from ..cpu import CpuMeter
from ..errors import LabError
from ..product import NO_LIMITS, Deployment, Product, product
from ..report import facts, percentile, table
from .portal_pages import LISTS, addresses
from .portal_store import Size, examples, fill_once, filled_run, keep_option

__all__ = ["as_text", "main", "measure", "signed_in"]

P95_MS, MAX_MS = 200.0, 1000.0
"""Targets of each page."""
_SAME_ORIGIN = {"sec-fetch-site": "same-origin"}
_NEXT = re.compile(r'<a href="([^"]+)" rel="next">')
_SECONDS = 60.0
_SIZE = Size()


@dataclass(slots=True)
class Taken:
    """What the requests of one address took.

    Attributes:
        ms: Milliseconds until the whole page had arrived, of each request.
        cpu_ms: CPU time of the whole product for all requests together; other programs change it little.
        failed: Requests that were not answered with 200.
    """

    ms: list[float] = field(default_factory=list)
    cpu_ms: float = 0.0
    failed: int = 0

    @property
    def misses(self) -> bool:
        """Whether a request failed, or a target is missed."""
        return bool(self.failed) or percentile(self.ms, 95) > P95_MS or max(self.ms) > MAX_MS


Figures = Mapping[str, Taken]


@click.command(context_settings=HELP)
@click.option("--deliveries", type=click.IntRange(100, 100_000_000), default=_SIZE.deliveries)
@click.option("--dead-letters", type=click.IntRange(1, 10_000_000), default=_SIZE.dead_letters)
@click.option("--campaigns", type=click.IntRange(1, 100_000), default=_SIZE.campaigns)
@click.option(
    "--others",
    type=click.IntRange(1, 10_000_000),
    default=_SIZE.others,
    help="Suppressions, audit events and messages to a webhook, each.",
)
@click.option("--rounds", type=click.IntRange(1, 1000), default=20, help="Requests for each page.")
@click.option("--depth", type=click.IntRange(0, 1000), default=20, help="Next pages of each list in a round.")
@data_option
@keep_option
def main(rounds: int, depth: int, data: Path, keep: Path | None, **size: int) -> None:
    """Request every page of the portal, with filters and deep in lists, and report how long each takes."""
    run_command(_run(Size(**size), rounds, depth, data, keep))


async def _run(size: Size, rounds: int, depth: int, data: Path, keep: Path | None) -> int:
    load_before = os.getloadavg()[0]
    with filled_run(data, keep) as run:
        async with product(run) as core:
            await fill_once(core.database_url, size, run)
            figures = await measure(core, rounds, depth)
    click.echo(f"\n{as_text(figures)}\n\n{size}; {rounds} rounds. {facts(load_before)}")
    return 1 if any(one.misses for one in figures.values()) else 0


async def measure(core: Product, rounds: int, depth: int) -> Figures:
    """Request every page in each round.

    Args:
        core: The product with a filled database, without servers.
        rounds: The number of rounds.
        depth: How many next pages of each list are requested in a round.

    Returns:
        What the requests took, by address.
    """
    named = await examples(core.database_url)
    figures: dict[str, Taken] = defaultdict(Taken)
    async with (
        core.serving(portal=True, **NO_LIMITS) as deployment,
        signed_in(core, deployment.port) as browser,
    ):
        for number in range(rounds):
            for address in addresses():
                await _get(browser, deployment, f"/portal{address.format(**named)}", figures[address])
            for address in LISTS:
                path = f"/portal{address.format(**named)}"
                for _ in range(depth + 1):
                    text = await _get(browser, deployment, path, figures[f"{address} and next pages"])
                    if (found := _NEXT.search(text)) is None:
                        break
                    path = unescape(found[1])
            log(f"round {number + 1}/{rounds}")
    return figures


@asynccontextmanager
async def signed_in(core: Product, port: int, name: str = "lab") -> AsyncIterator[httpx.AsyncClient]:
    """Return the client of an administrator of this name with a session in the portal."""
    secret = new_admin_secret()
    connection = await asyncpg.connect(core.database_url)
    try:
        expires_at = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
        grants = [Grant(Role.ADMIN)]
        await create_key(
            connection, secret, name=name, grants=grants, created_by="lab", expires_at=expires_at
        )
    finally:
        await connection.close()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=_SECONDS) as browser:
        answer = await browser.post("/portal/sign-in", data={"key": secret}, headers=_SAME_ORIGIN)
        if answer.status_code != HTTPStatus.SEE_OTHER:
            raise LabError(f"signing in was answered with {answer.status_code}")
        yield browser


def as_text(figures: Figures) -> str:
    """Return the report, the slowest page first."""
    rows = [
        [
            f"`{address}`",
            str(len(taken.ms)),
            *(f"{percentile(taken.ms, percent):.0f}" for percent in (50, 95)),
            f"{max(taken.ms):.0f}",
            f"{taken.cpu_ms / len(taken.ms):.0f}",
            str(taken.failed),
        ]
        for address, taken in sorted(figures.items(), key=lambda one: -percentile(one[1].ms, 95))
    ]
    missed = [address for address, taken in figures.items() if taken.misses]
    verdict = f"{len(missed)} MISSED: {', '.join(missed)}" if missed else "met by all"
    targets = f"target {P95_MS:g} ms at p95 and {MAX_MS:g} ms at most: {verdict}"
    heads = ["page", "requests", "p50 ms", "p95 ms", "max ms", "CPU ms", "not 200"]
    return f"{table(heads, rows)}\n\n{targets}"


async def _get(browser: httpx.AsyncClient, deployment: Deployment, path: str, taken: Taken) -> str:
    """Request a page, add what it took, and return its HTML."""
    meter, began = CpuMeter(deployment.pids), time.perf_counter()
    answer = await browser.get(path)
    taken.ms.append((time.perf_counter() - began) * 1000)
    taken.cpu_ms += sum(meter.used().values()) * 1000
    taken.failed += answer.status_code != HTTPStatus.OK
    return answer.text


if __name__ == "__main__":
    main()
