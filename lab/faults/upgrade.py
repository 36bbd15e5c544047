"""`python -m lab.faults.upgrade`: upgrade from the previous release under load, go back, and upgrade again.

Both versions run side by side on one database, behind a gateway of each version. Exit codes: 0; 1 if a
guarantee failed; 2 if the run failed. Without the previous release in the history, it is skipped.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import click

from server.up.data_folder import RunDir

from ..command import HELP, data_option, log, run_command
from ..errors import LabError
from ..parts import as_env, clarion
from ..previous import COMMIT, PreviousReleaseMissing, clean_env, previous_release, run_words
from ..process import Process, free_port
from ..product import Product, postgres, serve
from ..sink import Mail
from .command import FAILED, run_folder
from .finding import Finding, finding
from .load import RecordedLoad
from .system import LATENCY_TARGET, MAILS, System, mail_server

__all__ = ["judge", "main", "upgrade"]

_LAME_DUCK = 2.0
"""Seconds; the default of `server.lame_duck`."""
_PROCESSES = 2
"""Number of servers, and of dispatchers."""
_CALLERS = 3
"""Number of callers of each gateway."""
_DRAIN_SECONDS = 180.0


class Slot:
    """A place for a process, in which one version runs after the other."""

    def __init__(self, make: Callable[[Product], Process]) -> None:
        """Set the function that returns the process of a version."""
        self._make = make
        self.process: Process | None = None

    async def run(self, version: Product) -> None:
        """Stop the process with SIGTERM, as an operator does, and start that of another version.

        Raises:
            LabError: The old one did not end in an orderly way, or the new one is not ready in two minutes.
        """
        if self.process:
            await self.process.end(signal.SIGTERM)
        self.process = self._make(version)
        await self.process.start()

    async def stop(self) -> None:
        """End the process."""
        if self.process:
            await self.process.stop()


@dataclasses.dataclass(frozen=True, slots=True)
class Side:
    """Both versions on one database."""

    old: Product
    new: Product
    servers: Sequence[Slot]
    dispatchers: Sequence[Slot]
    loads: Sequence[RecordedLoad]
    """One for each gateway."""
    calls: int
    """Number of calls to accept before each next step."""

    async def replace(self, version: Product, *groups: Sequence[Slot]) -> None:
        """Replace processes one after the other, as in docs/how-to/upgrade.md."""
        for slot in (one for group in groups for one in group):
            await slot.run(version)
            await self.accept()

    async def accept(self) -> None:
        """Wait until more calls were accepted through each gateway."""
        goals = [len(load.accepted) + self.calls for load in self.loads]
        for load, goal in zip(self.loads, goals, strict=True):
            await load.until_accepted(goal)


async def upgrade(run: RunDir, python: Path, calls: int) -> Finding:
    """Upgrade servers first, go back to the previous release, and upgrade dispatchers first.

    Args:
        run: The folder of the run.
        python: The interpreter of the previous release.
        calls: Number of calls that each gateway accepts after each step.

    Raises:
        LabError: A process did not start or end in an orderly way, or nothing is accepted.
    """
    async with _running(run, python, calls) as side:
        async with AsyncExitStack() as stack:
            for load in side.loads:
                await stack.enter_async_context(load.running(_CALLERS))
            await side.accept()
            log("migrating")
            await _clarion(side.new, "migrate")
            await side.accept()
            log("upgrading: servers first")
            await side.replace(side.new, side.servers, side.dispatchers)
            log("going back to the previous release")
            await side.replace(side.old, side.dispatchers, side.servers)
            log("upgrading: dispatchers first")
            await side.replace(side.new, side.dispatchers, side.servers)
        system = System(side.new, 0, {}, run.data / MAILS)
        left = await system.drain(_DRAIN_SECONDS)
        mails = [mail for load in side.loads for mail in system.mails(f"{load.name}-")]
        accepted = {call: one for load in side.loads for call, one in load.accepted.items()}
        failed = sum((load.refused for load in side.loads), Counter[str]())
        return judge(accepted, failed, mails, left, max(load.slowest for load in side.loads))


def judge(
    accepted: Mapping[str, str], failed: Mapping[str, int], mails: Sequence[Mail], left: int, slowest: float
) -> Finding:
    """Compare what arrived with what was accepted.

    Args:
        accepted: Trigger IDs by call.
        failed: Numbers of other answers.
        mails: What arrived.
        left: Number of triggers in the queue at the end.
        slowest: Seconds of the slowest call.
    """
    copies = Counter(mail.subject for mail in mails)
    wrong = {
        mail.subject
        for mail in mails
        if mail.to != f"{mail.subject}@faults.example"
        or mail.text != f"This is {mail.subject}."
        or mail.message_id.strip("<>").partition("@")[0] != accepted.get(mail.subject)
    }
    lost, twice = accepted.keys() - copies.keys(), sum(count > 1 for count in copies.values())
    counts = {"failed": sum(failed.values()), "lost": len(lost), "wrong": len(wrong), "doubles": twice}
    return finding(
        f"upgrade from {COMMIT[:12]}",
        {"accepted": len(accepted)} | counts | {"slowest call (s)": f"{slowest:.2f}"},
        {
            f"no call fails: {dict(failed)}": not failed,
            f"each accepted call is delivered: {sorted(lost)[:5]}": not lost,
            f"recipient, text and Message-ID are right: {sorted(wrong)[:5]}": not wrong,
            "each is delivered once": not twice,
            f"the queue is empty, and not {left}": not left,
        },
    )


@asynccontextmanager
async def _running(run: RunDir, python: Path, calls: int) -> AsyncIterator[Side]:
    """Run the previous release for the block, with a gateway of each version."""
    async with AsyncExitStack() as stack:
        _, campaigns, settings = await stack.enter_async_context(mail_server(run, 0))
        server, process = await stack.enter_async_context(postgres(run))
        paths = {"CLARION_DATA_DIR": str(run.data), "CLARION_DATABASE_URL": server.url}
        env = clean_env() | paths | as_env(settings)
        old = await _prepare(Product(run, process, server.url, 0, "", env, python), campaigns)
        new = dataclasses.replace(old, python=Path(sys.executable))
        addresses = [f"unix:{run.socket(f'server-{number}.sock')}" for number in range(_PROCESSES)]
        servers = [Slot(_server(number, address)) for number, address in enumerate(addresses)]
        dispatchers = [Slot(_dispatcher(number)) for number in range(_PROCESSES)]
        for slot in (*servers, *dispatchers):
            stack.push_async_callback(slot.stop)
            await slot.run(old)
        deployment = await stack.enter_async_context(serve(run, [], addresses, latency_target=LATENCY_TARGET))
        port = free_port()
        gateway = old.gateway_process(
            port, addresses, as_env({"gateway": {"latency_target": LATENCY_TARGET}})
        )
        await stack.enter_async_context(gateway.running())
        await _until_listening(port)
        loads = [
            RecordedLoad(System(old, one, {}, run.data / MAILS), name, own_users=True)
            for name, one in (("by-old", port), ("by-new", deployment.port))
        ]
        yield Side(old, new, servers, dispatchers, loads, calls)
        if any(slot.process and slot.process.has_ended for slot in (*servers, *dispatchers)):
            raise LabError("a process ended during the upgrade; see its log")


def _server(number: int, address: str) -> Callable[[Product], Process]:
    return lambda version: version.server_process(number, address, _LAME_DUCK)


def _dispatcher(number: int) -> Callable[[Product], Process]:
    return lambda version: version.dispatcher_process(name=f"dispatcher-{number}")


async def _prepare(old: Product, campaigns: Path) -> Product:
    """Create schema, campaigns and key with the commands of the previous release."""
    await _clarion(old, "migrate")
    await _clarion(old, "campaigns", "apply", str(campaigns))
    printed = await _clarion(old, "keys", "create", "--project", "faults", "--name", "lab")
    found = re.search(r"\bsk_[\w-]+", printed)
    if not found:
        raise LabError("the previous release printed no key")
    return dataclasses.replace(old, key=found[0])


async def _clarion(version: Product, *command: str) -> str:
    return await asyncio.to_thread(run_words, clarion(*command, python=version.python), version.env)


async def _until_listening(port: int) -> None:
    """Wait until a gateway accepts connections."""
    async with asyncio.timeout(_DRAIN_SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


@click.command(context_settings=HELP)
@click.option("--calls", default=200, help="Calls that each gateway accepts after each step.")
@data_option
def main(*, calls: int, data: Path) -> None:
    """Upgrade from the previous release under load, go back, and upgrade again."""
    run_command(_run(calls, data), name="faults")


async def _run(calls: int, data: Path) -> int:
    try:
        python = await asyncio.to_thread(previous_release, data)
    except PreviousReleaseMissing as error:
        log(f"upgrade: skipped, because {error}")
        return 0
    with run_folder(data, "upgrade") as folder, RunDir(folder.path / "run") as run:
        run.log.mkdir(mode=0o700)
        found = await upgrade(run, python, calls)
        click.echo(str(found))
        folder.passed = found.passed
    return 0 if folder.passed else FAILED


if __name__ == "__main__":
    main()
