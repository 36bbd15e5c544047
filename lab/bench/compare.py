"""`python -m lab.bench.compare BEFORE`: CPU per trigger and per mail of two checkouts of Clarion.

Both run `clarion up` from their own `.venv`, and get the same triggers alternately. The load generator is
built in. Exit codes: 0; 2 if the run failed. See docs/benchmarks.md.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click

from server.up.data_folder import RunDir

from ..command import HELP, data_option, log, run_command, temporary_run
from ..cpu import CpuMeter
from ..load import BODY, CAMPAIGN, post_all
from ..process import free_port
from ..report import facts, median_ratio, table
from ..sink import PIPELINING, Sink, sink
from ..up import ClarionUp

__all__ = ["Checkout", "Sample", "as_text", "compare", "main"]

BEFORE, AFTER = "before", "after"
ROLES = {"gateway": "envoy", "serve": "server", "postgres": "postgres", "dispatch": "dispatcher"}
"""Names of the processes in the report, by the command that runs them."""
_ROOT = Path(__file__).parents[2]
_CONNECTIONS = 16
_WARMUP_TRIGGERS = 200
_SLOWEST = 20.0
"""Lowest accepted rate, in mails per second; a slower run is an error."""
_CATALOG_SECONDS = 2.0
"""Seconds until the servers and the dispatcher have loaded the campaign and the key."""
_RECORD_SECONDS = 0.3
"""Seconds after the last mail until its attempt is recorded."""
_CAMPAIGNS = {
    "project": "compare",
    "campaigns": [
        {
            "id": CAMPAIGN,
            "name": "comparison",
            "channel": "email",
            "provider": "sink",
            "sender": "hello@clarion.example",
            "templates": {
                "default": {
                    "subject": "Hello {{ user.external_id }}",
                    "text": "Your value is {{ event.random_field }}.",
                    "html": "<p>Your value is <b>{{ event.random_field }}</b>.</p>",
                }
            },
        }
    ],
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One checkout in one round. CPU is in microseconds per trigger or mail, by role."""

    accepting: Mapping[str, float]
    """While the dispatcher is suspended, so that all of it is for accepting triggers."""
    accepted_rate: float
    """Triggers per second."""
    delivering: Mapping[str, float]
    """While the queue is drained, so that all of it is for delivering mails."""
    delivered_rate: float
    """Mails per second."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """What to measure."""

    folder: Path
    """The absolute path of a folder with a `.venv`."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of its processes."""


@dataclass(frozen=True, slots=True)
class _Running:
    clarion: ClarionUp
    sink: Sink
    key: str

    async def sample(self, triggers: int) -> Sample:
        """Accept triggers, then deliver them, and measure both."""
        children = self.clarion.children()
        pids = {role: [children[command].pid] for command, role in ROLES.items()}
        goal = self.sink.counts.messages + triggers
        children["dispatch"].send_signal(signal.SIGSTOP)
        try:
            meter, started = CpuMeter(pids), time.monotonic()
            bodies = [BODY.encode()] * triggers
            await post_all(self.clarion.port, self.key, bodies, connections=_CONNECTIONS)
            seconds, accepting = time.monotonic() - started, meter.used()
        finally:
            meter, started = CpuMeter(pids), time.monotonic()
            children["dispatch"].send_signal(signal.SIGCONT)
        await self.sink.reached(goal, triggers / _SLOWEST + 30)
        delivered_seconds = time.monotonic() - started
        await asyncio.sleep(_RECORD_SECONDS)
        return Sample(
            _per_item(accepting, triggers),
            triggers / seconds,
            _per_item(meter.used(), triggers),
            triggers / delivered_seconds,
        )


async def compare(
    run: RunDir, checkouts: Mapping[str, Checkout], triggers: int, rounds: int
) -> dict[str, list[Sample]]:
    """Measure checkouts alternately.

    Args:
        run: the folder of the run.
        checkouts: what to measure, by name.
        triggers: triggers for each checkout in each round.
        rounds: number of rounds.

    Raises:
        LabError: a checkout did not start, did not accept a trigger, or did not deliver all mails.
    """
    async with AsyncExitStack() as stack:
        started = {
            name: await stack.enter_async_context(_running(run.data / name, checkout))
            for name, checkout in checkouts.items()
        }
        for checkout in started.values():
            await checkout.sample(min(triggers, _WARMUP_TRIGGERS))
        samples: dict[str, list[Sample]] = {name: [] for name in started}
        for number in range(rounds):
            # The state of the machine may differ between the first and the second run of a round.
            for name in sorted(started, reverse=bool(number % 2)):
                samples[name].append(await started[name].sample(triggers))
                log(f"round {number + 1}/{rounds}  {name}")
        return samples


@asynccontextmanager
async def _running(folder: Path, checkout: Checkout) -> AsyncIterator[_Running]:
    """Run a checkout's `clarion up`, with a campaign that sends to a sink."""
    await asyncio.to_thread(folder.mkdir)
    campaigns = folder / "campaigns.yaml"
    await asyncio.to_thread(campaigns.write_text, json.dumps(_CAMPAIGNS))  # JSON is YAML
    async with sink(folder, "sink", "smtp", PIPELINING) as end:
        settings = {"providers": {"sink": end.smtp_settings}}
        python = checkout.folder / ".venv" / "bin" / "python"
        clarion = ClarionUp(folder, free_port(), settings, python, variables=checkout.variables)
        try:
            await clarion.start()
            await clarion.check("campaigns", "apply", str(campaigns))
            options = ("--project", "compare", "--name", "compare", "--json")
            key = json.loads(await clarion.check("keys", "create", *options))
            await asyncio.sleep(_CATALOG_SECONDS)
            yield _Running(clarion, end, key["secret"])
        finally:
            await clarion.stop()


def _per_item(cpu: Mapping[str, float], count: int) -> dict[str, float]:
    return {role: seconds * 1e6 / count for role, seconds in cpu.items()}


def as_text(samples: Mapping[str, Sequence[Sample]]) -> str:
    """Return the medians, and the ratios of the second checkout to the first."""
    before, after = samples.values()
    heads = ["", "per second", *(f"{role} µs" for role in ROLES.values()), "all µs"]
    rows = []
    for title, rate, cpu in (
        ("trigger accepted", "accepted_rate", "accepting"),
        ("mail delivered", "delivered_rate", "delivering"),
    ):
        columns = [
            [[getattr(one, rate), *_with_sum(getattr(one, cpu))] for one in side] for side in (before, after)
        ]
        for name, side in zip(samples, columns, strict=True):
            medians = [statistics.median(values) for values in zip(*side, strict=True)]
            rows.append([f"{title}, {name}", *(f"{median:.0f}" for median in medians)])
        old, new = (list(zip(*side, strict=True)) for side in columns)
        ratios = [median_ratio(values, bases) for values, bases in zip(new, old, strict=True)]
        rows.append([f"{title}, ratio", *(f"{ratio:.3f}" for ratio in ratios)])
    return table(heads, rows)


def _with_sum(cpu: Mapping[str, float]) -> list[float]:
    values = [cpu[role] for role in ROLES.values()]
    return [*values, sum(values)]


@click.command(context_settings=HELP)
@click.argument("before", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--after",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=_ROOT,
    show_default="this checkout",
    help="The checkout to compare with BEFORE.",
)
@click.option("--rounds", type=click.IntRange(1, 100), default=5)
@click.option(
    "--triggers", type=click.IntRange(50, 100_000), default=3000, help="Triggers per checkout and round."
)
@data_option
def main(before: Path, after: Path, rounds: int, triggers: int, data: Path) -> None:
    """Compare CPU per trigger and per mail of the checkout BEFORE with another one.

    Each checkout needs a `.venv` in which Clarion is installed, with its protos built.
    """
    run_command(
        _run({BEFORE: Checkout(before.absolute()), AFTER: Checkout(after.absolute())}, rounds, triggers, data)
    )


async def _run(checkouts: Mapping[str, Checkout], rounds: int, triggers: int, data: Path) -> int:
    load_before = os.getloadavg()[0]
    with temporary_run(data) as run:
        samples = await compare(run, checkouts, triggers, rounds)
    click.echo(f"\n{as_text(samples)}\n\n{rounds} rounds of {triggers} triggers. {facts(load_before)}")
    return 0


if __name__ == "__main__":
    main()
