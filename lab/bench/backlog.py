"""How fast a backlog is delivered, by channel, and beside a bare loop. Part of `bench.delivery`."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from server.channels.email_message import Email, compose
from server.domain.campaign import Channel
from server.store.admin import campaigns
from server.templates.render import Renderer
from server.up.data_folder import RunDir

from ..product.process import bench_module, running, with_bench
from ..product.sink import PIPELINING, Sink, sink
from .figures import cpu_of, table, used
from .outgoing import Outgoing, Road, a_trigger, outgoing, smtp
from .plan import BenchError

__all__ = ["BARE", "EMAIL", "TARGET", "VARIANTS", "Turn", "as_table", "measure", "ratios"]

TARGET = 0.7
"""Emails a second, as a share of the bare loop's."""
BARE, EMAIL = "bare aiosmtplib", "email by SMTP"
ROLES = ("sender", "postgres", "sink")
_ROADS = {
    EMAIL: Road(1, Channel.EMAIL, ("plain",)),
    "email by SMTP, PIPELINING": Road(2, Channel.EMAIL, ("pipelined",)),
    "text by Twilio's API": Road(3, Channel.TEXT, ("twilio",)),
    "push by FCM": Road(4, Channel.PUSH, ("fcm",)),
    "email to the sandbox": Road(5, Channel.EMAIL, ("sandbox",)),
}
VARIANTS = tuple(_ROADS)
"""What is measured beside the bare loop."""
_SLOWEST = 20.0
"""Messages a second; slower is an error."""
_START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Turn:
    """One variant in one round, from its first messages to its last."""

    messages: int
    seconds: float
    cpu: Mapping[str, float]
    """CPU seconds, by role."""

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds

    def cpu_us(self, role: str) -> float:
        """Return CPU microseconds for each message."""
        return self.cpu.get(role, 0.0) * 1e6 / self.messages


async def measure(
    run: RunDir,
    messages: int,
    connections: int,
    rounds: int,
    say: Callable[[str], None],
    *,
    variants: Sequence[str] = VARIANTS,
) -> dict[str, list[Turn]]:
    """Let the variants and the bare loop take turns."""
    async with AsyncExitStack() as stack:
        kinds = {"plain": ("smtp",), "pipelined": ("smtp", PIPELINING), "twilio": ("http",), "fcm": ("http",)}
        sinks = {name: await stack.enter_async_context(sink(run.data, name, *kinds[name])) for name in kinds}
        providers = _providers(run.data, sinks, connections)
        out = await stack.enter_async_context(outgoing(run, providers, list(_ROADS.values())))
        bench = _Rounds(out, sinks, messages, connections)
        await bench.prepare()
        turns: dict[str, list[Turn]] = {variant: [] for variant in (BARE, *variants)}
        for number in range(rounds):
            for variant, found in turns.items():
                found.append(await bench.turn(variant))
                say(f"round {number + 1}/{rounds}  {variant:<26} {found[-1].rate:6.0f}/s")
        return turns


def _providers(
    folder: Path, sinks: Mapping[str, Sink], connections: int
) -> Mapping[str, Mapping[str, object]]:
    account = {"type": "twilio", "account_sid": "AC" + "0" * 32, "auth_token": "t", "from_number": "12345"}
    urls = {name: f"http://127.0.0.1:{sinks[name].port}" for name in ("twilio", "fcm")}
    file = _service_account(folder, urls["fcm"])
    return {
        "plain": smtp(sinks["plain"], connections),
        "pipelined": smtp(sinks["pipelined"], connections),
        "twilio": {**account, "url": urls["twilio"], "concurrency": connections},
        "fcm": {"type": "fcm", "url": urls["fcm"], "concurrency": connections, "service_account_file": file},
        "sandbox": {"concurrency": connections},
    }


def _service_account(folder: Path, url: str) -> Path:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    content = {"client_email": "a@bench", "project_id": "bench", "token_uri": f"{url}/token"}
    file = folder / "service-account.json"
    file.write_text(json.dumps({**content, "private_key": pem}))
    return file


class _Rounds:
    def __init__(self, out: Outgoing, sinks: Mapping[str, Sink], messages: int, connections: int) -> None:
        self._out = out
        self._sinks = sinks
        self._messages = messages
        self._connections = connections
        self._seconds = messages / _SLOWEST + _START_SECONDS
        self._ready_made = out.run.data / "message.eml"

    async def prepare(self) -> None:
        """Make the message that the bare loop sends: the one that Clarion sends, ready-made."""
        campaign = await campaigns.find_campaign(self._out.pool, self._out.project_id, 1)
        assert campaign  # noqa: S101 - it was just applied
        email = Renderer().render(campaign, a_trigger(campaign.project_id, 1, Channel.EMAIL, 1))
        assert isinstance(email, Email)  # noqa: S101 - the channel says so
        self._ready_made.write_bytes(compose(email))

    async def turn(self, variant: str) -> Turn:
        """Measure one variant once; what is sent is queued before, outside the measured time."""
        if variant == BARE:
            return await self._bare()
        road = _ROADS[variant]
        await self._out.clear()
        await self._out.fill(road, self._messages)
        pids, goal = {"postgres": self._out.postgres}, 0
        if end := self._sinks.get(road.providers[0]):
            pids["sink"], goal = end.process.pid, end.tally.messages + self._messages
        async with self._out.dispatching() as dispatcher:
            turn = await self._drained(pids | {"sender": dispatcher.pid}, end, goal)
        await self._out.check(self._messages)
        return turn

    async def _bare(self) -> Turn:
        end = self._sinks["plain"]
        done_before = end.tally.messages
        command = bench_module("bench.bare", end.port, self._connections, self._messages, self._ready_made)
        async with running(command, self._out.run.data / "bare.log", env=with_bench()) as process:
            pids = {"sender": process.pid, "sink": end.process.pid}
            await end.reached(done_before + 1, _START_SECONDS)
            before, started, first = cpu_of(pids), time.monotonic(), end.tally.messages
            await end.reached(done_before + self._messages, self._seconds)
            seconds, cpu = time.monotonic() - started, used(before, cpu_of(pids))
            return _turn(done_before + self._messages - first, seconds, cpu)

    async def _drained(self, pids: Mapping[str, int], end: Sink | None, goal: int) -> Turn:
        """Measure from the first record of a delivery until nothing waits any more."""
        try:
            async with asyncio.timeout(self._seconds):
                first = await self._out.begun()
                before, started = cpu_of(pids), time.monotonic()
                if end:  # it costs PostgreSQL nothing to look there
                    await end.reached(goal, self._seconds)
                await self._out.ended()
                seconds, cpu = time.monotonic() - started, used(before, cpu_of(pids))
        except TimeoutError:
            raise BenchError(f"not all was delivered within {self._seconds:.0f} s") from None
        return _turn(self._messages - first, seconds, cpu)


def _turn(messages: int, seconds: float, cpu: Mapping[str, float]) -> Turn:
    if messages <= 0:
        raise BenchError("all was sent before the first look: take more --messages")
    return Turn(messages, seconds, cpu)


def ratios(turns: Mapping[str, Sequence[Turn]], variant: str) -> float:
    """Return a variant's rate as a share of the bare loop's in the same round: the median."""
    pairs = zip(turns[variant], turns[BARE], strict=True)
    return statistics.median(one.rate / bare.rate for one, bare in pairs)


def as_table(turns: Mapping[str, Sequence[Turn]]) -> str:
    """Return the medians."""
    heads = ["variant", "messages/s", "lowest-highest", "of bare", *(f"{role} µs" for role in ROLES)]
    return table(heads, _rows(turns))


def _rows(turns: Mapping[str, Sequence[Turn]]) -> Iterator[Sequence[str]]:
    for variant, found in turns.items():
        rates = [turn.rate for turn in found]
        cpu = [statistics.median(turn.cpu_us(role) for turn in found) for role in ROLES]
        yield [
            variant,
            f"{statistics.median(rates):.0f}",
            f"{min(rates):.0f}-{max(rates):.0f}",
            f"{ratios(turns, variant):.2f}",
            *(f"{figure:.0f}" if figure else "-" for figure in cpu),
        ]
