"""`python -m lab.faults.restore`: lose the database under load, restore it, and decide what is sent.

It follows docs/how-to/back-up-and-restore.md. Exit codes: 0; 1 if a guarantee failed; 2 if the run failed.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import json
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from server.up.data_folder import RunDir

from ..command import HELP, data_option, log, run_command
from ..errors import LabError
from ..parts import clarion
from ..process import Process
from ..product import Product, product_on
from .command import FAILED, run_folder, scenario_option
from .load import RecordedLoad
from .lost import CALLS, PATIENCE, Before, until_lost
from .restored import archiving, restored
from .system import LATENCY_TARGET, MAILS, System, mail_server

__all__ = ["SCENARIOS", "TO_A_TIME", "Result", "main", "restore"]

TO_A_TIME, TO_THE_END = "to a time", "to the end of the archive"
SCENARIOS = (TO_A_TIME, TO_THE_END)
"""After the first, Clarion holds on its own. The second looks like a failover: an operator must hold."""
_CLAIMED = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'WITH due AS%' AND query_start > $1"
_BEATS = "SELECT count(*) FROM server_process WHERE role = 'dispatcher' AND seen_at > $1"
_DISPATCHERS = 2


@dataclass(slots=True)
class Result:
    """The result of one scenario, in numbers of triggers; `wrong` names what did not hold."""

    scenario: str
    accepted: int = 0
    """Answered with 204 before the recovery point."""
    lost: int = 0
    """Answered with 204 after it."""
    waiting: int = 0
    """Waiting in the restored database, without those accepted since."""
    held_mails: int = 0
    replayed: int = 0
    """Repeated calls that were answered with their first trigger ID."""
    cancelled: int = 0
    sent_again: int = 0
    """Those that were sent before, and that the operator has released."""
    seconds: float = 0.0
    """From the start of the restore to the first 204."""
    wrong: list[str] = field(default_factory=list)

    def expect(self, what: str, *, found: object, wanted: object) -> None:
        """Note what did not hold."""
        if found != wanted:
            self.wrong.append(f"{what}: {found}, not {wanted}")

    def __str__(self) -> str:
        """Return one line."""
        failed = f"  FAILED ({'; '.join(self.wrong)})" if self.wrong else ""
        return (
            f"{self.scenario}: {self.accepted} accepted before the recovery point, {self.lost} lost after it;"
            f" first 204 after {self.seconds:.1f} s; {self.held_mails} sent while held, {self.waiting}"
            f" waiting, {self.replayed} repeated calls answered as before; {self.cancelled} cancelled,"
            f" {self.sent_again} sent again{failed}"
        )


async def restore(scenario: str, folder: Path) -> Result:
    """Lose the database under load, restore it on another machine, cancel, release, and check all mails.

    Raises:
        LabError: Something did not happen within two minutes.
    """
    await asyncio.to_thread(folder.mkdir, mode=0o700)
    result = Result(scenario)
    with RunDir(folder / "m") as mails, RunDir(folder / "a") as one, RunDir(folder / "b") as two:
        for run in (mails, one, two):
            run.log.mkdir(mode=0o700)
        async with mail_server(mails, 0) as (_, campaigns, settings), archiving(one) as primary:
            core = product_on(
                one, primary.process, primary.server.url, campaigns=campaigns, settings=settings
            )
            async with core as product:
                before = await until_lost(
                    primary, product, mails.data / MAILS, archive_all=scenario == TO_A_TIME
                )
            result.accepted = len(before.calls())
            result.lost = len(before.load.accepted) - result.accepted
            begun = time.monotonic()
            target = before.point if scenario == TO_A_TIME else None
            async with restored(primary, two, target) as (server, process):
                paths = {"CLARION_DATA_DIR": str(two.data), "CLARION_DATABASE_URL": server.url}
                new = dataclasses.replace(
                    product,
                    run=two,
                    postgres=process,
                    database_url=server.url,
                    env={**product.env, **paths},
                )
                await _decide(new, before, result, begun, mails.data / MAILS)
    return result


async def _decide(new: Product, before: Before, result: Result, begun: float, mails: Path) -> None:
    """Start held, look, cancel half of what was sent before, and release the rest."""
    if result.scenario == TO_THE_END:
        await _clarion(new, "hold", "--reason", "restored")
    arrived = len(before.system.mails(""))
    async with new.serving(latency_target=LATENCY_TARGET) as deployment:
        system = System(new, deployment.port, {}, mails)
        after = RecordedLoad(system, "after", keyed=True)
        async with _dispatchers(new) as dispatchers:
            await after.at_once(CALLS)
            result.seconds = time.monotonic() - begun
            result.replayed = await _repeat(before, system, result)
            await dispatchers[0].end(signal.SIGKILL)  # the hold does not depend on a process
            await dispatchers[0].start()
            await _until_claimed(new)
            await _check_held(new, result)
            result.held_mails = len(system.mails("")) - arrived
            result.expect("sent while held", found=result.held_mails, wanted=0)
            again = await _cancel(new, before, result)
        await _release(new, result)  # while no dispatcher runs
        async with _dispatchers(new):
            if left := await system.drain(PATIENCE):
                raise LabError(f"{left} triggers were not sent within {PATIENCE:g} s of the release")
    _check_mails(system, before, after, again, result)


@asynccontextmanager
async def _dispatchers(new: Product) -> AsyncIterator[tuple[Process, Process]]:
    async with new.dispatching(name="dispatcher-2") as one, new.dispatching(name="dispatcher-3") as two:
        yield one, two


async def _until_claimed(new: Product) -> None:
    """Wait until all dispatchers have reported, and one has tried to claim, since this was called."""
    [row] = await new.rows("SELECT now() AS now")
    async with asyncio.timeout(PATIENCE):
        for sql, wanted in ((_BEATS, _DISPATCHERS), (_CLAIMED, 1)):
            while (await new.rows(sql, row["now"]))[0][0] < wanted:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.1)


async def _check_held(new: Product, result: Result) -> None:
    """Check what an operator sees, and that a second hold changes nothing."""
    code, out = await _run(new, "status", "--json")
    status = json.loads(out)
    result.expect("exit code of status", found=code, wanted=1)
    result.expect("problem", found=status["problems"][0]["runbook"], wanted="ClarionSendingHeld")
    by = status["sending_hold"]["held_by"] == "Clarion"
    result.expect("held by Clarion", found=by, wanted=result.scenario == TO_A_TIME)
    again = json.loads(await _clarion(new, "hold", "--json"))
    result.expect("second hold", found=again["sending_hold"], wanted=status["sending_hold"])


async def _repeat(before: Before, system: System, result: Result) -> int:
    """Repeat every call that was answered before the recovery point; return how many had the same answer."""
    calls = before.calls()
    stored = {str(row["id"]) for row in await system.product.rows("SELECT id FROM trigger")}
    result.expect("missing after the restore", found=len(set(calls.values()) - stored), wanted=0)
    repeated = await before.load.repeated(system, calls)
    result.expect("answers to repeated calls", found=repeated == calls, wanted=True)
    return sum(repeated.get(call) == trigger_id for call, trigger_id in calls.items())


async def _cancel(new: Product, before: Before, result: Result) -> set[str]:
    """Cancel half of what waits although it was sent; return the other half."""
    later = (before.point + dt.timedelta(seconds=1)).replace(tzinfo=None).isoformat(timespec="seconds")
    words = ("deliveries", "list", "--state", "pending", "--before", later, "--limit", "10000", "--json")
    found = {one["trigger_id"] for one in json.loads(await _clarion(new, *words))}
    result.waiting = len(found)
    both = sorted(found & before.sent)
    result.expect("waiting, although sent after the recovery point", found=len(both) >= CALLS, wanted=True)
    chosen = both[: len(both) // 2]
    out = await _clarion(new, "deliveries", "cancel", *chosen)
    result.cancelled = len(chosen)
    result.expect("cancel", found=out.strip(), wanted=f"cancelled {len(chosen)} triggers")
    return found - set(chosen)


async def _release(new: Product, result: Result) -> None:
    first, again = [await _clarion(new, "release", "--yes") for _ in range(2)]
    result.expect("release", found=first.startswith("sending is released"), wanted=True)
    result.expect("second release", found=again.strip(), wanted="sending was not held")


def _check_mails(
    system: System, before: Before, after: RecordedLoad, again: set[str], result: Result
) -> None:
    """Check how often each message was sent: twice only if the operator has released it."""
    copies = Counter(mail.subject for mail in system.mails(""))
    again &= before.sent
    wanted = {call: 2 for call, id_ in before.load.accepted.items() if id_ in again}
    wanted |= {call: 1 for call, id_ in before.calls().items() if id_ not in again}
    wanted |= dict.fromkeys(after.accepted, 1)
    result.sent_again = sum(copies[call] > 1 for call in wanted)
    wrong = {call: copies[call] for call, count in wanted.items() if copies[call] != count}
    result.expect("messages with another number of copies", found=wrong, wanted={})
    result.expect("accepted while held", found=len(after.accepted), wanted=CALLS)
    result.expect("sent again", found=result.sent_again, wanted=len(again))


async def _clarion(new: Product, *words: str) -> str:
    code, out = await _run(new, *words)
    if code:
        raise LabError(f"clarion {' '.join(words[:2])} ended with exit code {code}")
    return out


async def _run(new: Product, *words: str) -> tuple[int, str]:
    command: list[Any] = [*clarion(words[0]), *words[1:]]
    started = await asyncio.create_subprocess_exec(
        *command, env={**new.env}, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await started.communicate()
    return started.returncode or 0, out.decode()


@click.command(context_settings=HELP)
@scenario_option(SCENARIOS)
@data_option
def main(*, scenarios: tuple[str, ...], data: Path) -> None:
    """Lose the database under load, restore it, and check that nothing is sent before an operator decides."""
    run_command(_main(scenarios, data), name="faults")


async def _main(scenarios: tuple[str, ...], data: Path) -> int:
    with run_folder(data, "restore") as folder:
        results = []
        for number, scenario in enumerate(scenarios):
            log(f"{number + 1}/{len(scenarios)}: restore {scenario}")
            results.append(await restore(scenario, folder.path / str(number)))
            click.echo(str(results[-1]))
        folder.passed = not any(result.wrong for result in results)
    return 0 if folder.passed else FAILED


if __name__ == "__main__":
    main()
