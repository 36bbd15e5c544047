"""`python -m lab.faults.database`: break a replicated PostgreSQL under load; check each accepted trigger.

Exit codes: 0; 1 if a guarantee failed; 2 if the run failed.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import click

from server.up.data_folder import RunDir

from ..command import HELP, data_option, log, run_command
from ..errors import LabError
from ..product import product_on
from ..replicas import Replica, replicas, url_of
from .command import FAILED, run_folder, scenario_option
from .load import RecordedLoad
from .phases import MOST_COPIES
from .system import MAILS, System, mail_server

__all__ = ["LIMIT", "SCENARIOS", "Broken", "Result", "break_database", "main"]

LIMIT = 5.0
"""Seconds from a promotion until triggers are accepted again."""
_PATIENCE = 120.0
"""Seconds after which a run fails."""
_BEFORE = 100
"""Calls that are accepted before something breaks."""
_ENDED_WAITS = 12
"""How often waits for a replica are cut short: a call waits for two of them."""
_CALLERS = 4


@dataclass(frozen=True, slots=True)
class Broken:
    """What a scenario works on."""

    first: Replica
    second: Replica
    system: System
    load: RecordedLoad

    async def hang(self) -> None:
        """Suspend the primary: it accepts connections, but never answers."""
        self.first.freeze()

    async def replace(self) -> None:
        """Keep the primary running while its replica is promoted, as in a network partition."""

    async def end_waits(self) -> None:
        """Stop the replica, end the waits for it, and suspend the primary: some triggers exist only there."""
        await self.second.process.stop()
        connection = await asyncpg.connect(self.first.server.url)
        try:
            for how in itertools.islice(itertools.cycle(("terminate", "cancel")), _ENDED_WAITS):
                await _end_wait(connection, how)
        finally:
            await connection.close()
        self.first.freeze()
        await self.second.process.start()


SCENARIOS: Mapping[str, Callable[[Broken], Awaitable[None]]] = {
    "hung primary": Broken.hang,
    "replaced primary": Broken.replace,
    "ended waits": Broken.end_waits,
}


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one scenario: which accepted triggers are missing, and how long the outage lasted."""

    scenario: str
    accepted: int
    missing: int
    """Number of triggers that were answered with 204 but are missing in the new primary."""
    seconds: float
    """Seconds from the promotion to the first 204."""
    undelivered: int
    """Number of accepted triggers whose mail did not arrive, although the queue is empty."""
    excessive: int
    """Number of triggers that were delivered more than twice."""
    other: Mapping[str, int]
    """Other answers."""

    @property
    def passed(self) -> bool:
        """Whether every trigger was kept and delivered, and the service recovered in time."""
        return not (self.missing or self.undelivered or self.excessive) and self.seconds <= LIMIT

    def __str__(self) -> str:
        """Return one line."""
        other = ", ".join(f"{answer}: {count}" for answer, count in sorted(self.other.items()))
        end = f" ({other})" if other else ""
        return (
            f"{self.scenario}: {self.accepted} accepted, {self.missing} missing,"
            f" {self.undelivered} undelivered,"
            f" {self.excessive} delivered more than {MOST_COPIES} times,"
            f" first 204 after {self.seconds:.1f} s{end}{'' if self.passed else '  FAILED'}"
        )


async def break_database(scenario: str, folder: Path) -> Result:
    """Break the primary under load, promote its replica, and check it for the accepted triggers.

    Raises:
        LabError: Nothing was accepted within two minutes.
    """
    async with _running(folder) as broken:
        async with broken.load.running(_CALLERS):
            await broken.load.until_accepted(_BEFORE)
            await SCENARIOS[scenario](broken)
            await broken.second.promote()
            promoted = time.monotonic()
            await broken.load.until_accepted(len(broken.load.accepted) + 1)
            seconds = time.monotonic() - promoted
            await broken.load.until_accepted(len(broken.load.accepted) + _BEFORE)
        kept = await _ids(broken.second)
        await _until_delivered(broken.second)
        mails = broken.system.mails(f"{broken.load.name}-")
    accepted = broken.load.accepted
    copies = Counter(mail.subject for mail in mails)
    return Result(
        scenario,
        len(accepted),
        missing=len(set(accepted.values()) - kept),
        seconds=seconds,
        undelivered=len(accepted.keys() - copies.keys()),
        excessive=sum(count > MOST_COPIES for count in copies.values()),
        other=broken.load.refused,
    )


@asynccontextmanager
async def _running(folder: Path) -> AsyncIterator[Broken]:
    await asyncio.to_thread(folder.mkdir, mode=0o700)
    async with replicas(folder, synchronous=True) as (first, second):
        with RunDir(folder / "product") as run:
            run.log.mkdir(mode=0o700)
            async with (
                mail_server(run, 0) as (_, campaigns, settings),
                product_on(
                    run, first.process, url_of([first, second]), campaigns=campaigns, settings=settings
                ) as core,
                core.serving() as deployment,
                core.dispatching(),
            ):
                system = System(core, deployment.port, {}, run.data / MAILS)
                yield Broken(first, second, system, RecordedLoad(system, "database"))


async def _end_wait(connection: asyncpg.Connection, how: str) -> None:
    """Wait until a backend waits for the replica, and end its wait."""
    sql = f"SELECT pg_{how}_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"  # noqa: S608
    async with asyncio.timeout(_PATIENCE):
        while not await connection.fetch(sql):  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.01)


async def _until_delivered(server: Replica) -> None:
    """Wait until the queue is empty.

    Raises:
        LabError: It was not within two minutes.
    """
    connection = await asyncpg.connect(server.server.url)
    try:
        async with asyncio.timeout(_PATIENCE):
            while await connection.fetchval("SELECT count(*) FROM queue"):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise LabError(f"the queue is not empty {_PATIENCE:g} s after the promotion") from None
    finally:
        await connection.close()


async def _ids(server: Replica) -> set[str]:
    connection = await asyncpg.connect(server.server.url)
    try:
        return {str(row["id"]) for row in await connection.fetch("SELECT id FROM trigger")}
    finally:
        await connection.close()


@click.command(context_settings=HELP)
@scenario_option(SCENARIOS)
@data_option
def main(*, scenarios: tuple[str, ...], data: Path) -> None:
    """Break a replicated PostgreSQL under load, and check that no accepted trigger is lost."""
    run_command(_run(scenarios, data), name="faults")


async def _run(scenarios: tuple[str, ...], data: Path) -> int:
    with run_folder(data, "database") as folder:
        results = []
        for number, scenario in enumerate(scenarios):
            log(f"{number + 1}/{len(scenarios)}: {scenario}")
            results.append(await break_database(scenario, folder.path / str(number)))
            click.echo(str(results[-1]))
        folder.passed = all(result.passed for result in results)
    return 0 if folder.passed else FAILED


if __name__ == "__main__":
    main()
