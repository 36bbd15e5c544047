"""Measures how fast a backlog is delivered, by channel. Part of `lab.bench.delivery`."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from server.channels.email_message import Email, compose
from server.domain.campaign import Channel
from server.store.admin import campaigns
from server.templates.render import Renderer

from ..command import log
from ..cpu import CpuMeter
from ..errors import LabError
from ..process import lab_process
from ..product import Product
from ..report import median_ratio, spread, table
from ..sink import PIPELINING, Sink, sink
from .deliveries import Deliveries, Route, deliveries, example_trigger

__all__ = ["BARE", "EMAIL", "TARGET", "VARIANTS", "Sample", "as_table", "measure", "ratio"]

TARGET = 0.7
"""Target: emails per second, as a share of the bare loop's."""
BARE, EMAIL = "bare aiosmtplib", "email by SMTP"
ROLES = ("sender", "postgres", "sink")
_ROUTES = {
    EMAIL: Route(1, Channel.EMAIL, ("plain",)),
    "email by SMTP, PIPELINING": Route(2, Channel.EMAIL, ("pipelined",)),
    "text by Twilio's API": Route(3, Channel.TEXT, ("twilio",)),
    "push by FCM": Route(4, Channel.PUSH, ("fcm",)),
    "email to the sandbox": Route(5, Channel.EMAIL, ("sandbox",)),
}
VARIANTS = tuple(_ROUTES)
"""What is compared with the bare loop."""
_SINKS = {"plain": ("smtp",), "pipelined": ("smtp", PIPELINING), "twilio": ("http",), "fcm": ("http",)}
_SLOWEST = 20.0
"""Lowest accepted rate, in messages per second; a slower run is an error."""
_START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One variant in one round, from its first messages to its last."""

    messages: int
    seconds: float
    cpu: Mapping[str, float]
    """CPU seconds by role."""

    @property
    def rate(self) -> float:
        """Messages per second."""
        return self.messages / self.seconds

    def cpu_us(self, role: str) -> float:
        """Return CPU microseconds per message."""
        return self.cpu.get(role, 0.0) * 1e6 / self.messages


async def measure(
    core: Product, messages: int, connections: int, rounds: int, variants: Sequence[str] = VARIANTS
) -> dict[str, list[Sample]]:
    """Measure the bare loop and the variants alternately.

    Args:
        core: the product, without servers and dispatchers.
        messages: messages of each variant in each round.
        connections: connections to each sink.
        rounds: number of rounds.
        variants: some of `VARIANTS`.
    """
    async with AsyncExitStack() as stack:
        sinks = {
            name: await stack.enter_async_context(sink(core.run.data, name, *arguments))
            for name, arguments in _SINKS.items()
        }
        providers = _providers(core.run.data, sinks, connections)
        out = await stack.enter_async_context(deliveries(core, providers, list(_ROUTES.values())))
        rounds_of = _Rounds(out, sinks, messages, connections)
        await rounds_of.prepare()
        samples: dict[str, list[Sample]] = {variant: [] for variant in (BARE, *variants)}
        for number in range(rounds):
            for variant, found in samples.items():
                found.append(await rounds_of.sample(variant))
                log(f"round {number + 1}/{rounds}  {variant:<26} {found[-1].rate:6.0f}/s")
        return samples


def _providers(
    folder: Path, sinks: Mapping[str, Sink], connections: int
) -> Mapping[str, Mapping[str, object]]:
    account = {"type": "twilio", "account_sid": "AC" + "0" * 32, "auth_token": "t", "from_number": "12345"}
    urls = {name: f"http://127.0.0.1:{sinks[name].counts.port}" for name in ("twilio", "fcm")}
    file = _service_account(folder, urls["fcm"])
    return {
        "plain": {**sinks["plain"].smtp_settings, "connections": connections},
        "pipelined": {**sinks["pipelined"].smtp_settings, "connections": connections},
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
    def __init__(self, out: Deliveries, sinks: Mapping[str, Sink], messages: int, connections: int) -> None:
        self._out = out
        self._sinks = sinks
        self._messages = messages
        self._connections = connections
        self._seconds = messages / _SLOWEST + _START_SECONDS
        self._ready_made = out.product.run.data / "message.eml"

    async def prepare(self) -> None:
        """Write the message that Clarion would send, for the bare loop."""
        project_id = self._out.product.project_id
        campaign = await campaigns.find_campaign(self._out.pool, project_id, 1)
        assert campaign  # noqa: S101 - it was just applied
        email = Renderer().render(campaign, example_trigger(project_id, 1, Channel.EMAIL, 1))
        assert isinstance(email, Email)  # noqa: S101 - by its channel
        self._ready_made.write_bytes(compose(email))

    async def sample(self, variant: str) -> Sample:
        """Measure one variant once. The queue is filled first, outside the measured time."""
        if variant == BARE:
            return await self._bare()
        route = _ROUTES[variant]
        await self._out.product.clear()
        await self._out.fill(route, self._messages)
        pids, goal = {"postgres": [self._out.product.postgres.pid]}, 0
        if end := self._sinks.get(route.providers[0]):
            pids["sink"], goal = [end.process.pid], end.counts.messages + self._messages
        async with self._out.product.dispatching() as dispatcher:
            sample = await self._drain(pids | {"sender": [dispatcher.pid]}, end, goal)
        await self._out.check_first_attempts(self._messages)
        return sample

    async def _bare(self) -> Sample:
        end = self._sinks["plain"]
        before = end.counts.messages
        arguments = (end.counts.port, self._connections, self._messages, self._ready_made)
        loop = lab_process("bare", self._out.product.run.log, "bench.bare_smtp", *arguments)
        async with loop.running() as process:
            await end.reached(before + 1, _START_SECONDS)
            meter = CpuMeter({"sender": [process.pid], "sink": [end.process.pid]})
            started, first = time.monotonic(), end.counts.messages
            await end.reached(before + self._messages, self._seconds)
            return _sample(before + self._messages - first, time.monotonic() - started, meter.used())

    async def _drain(self, pids: Mapping[str, Sequence[int]], end: Sink | None, goal: int) -> Sample:
        """Measure from the first recorded attempt until the queue is empty."""
        try:
            async with asyncio.timeout(self._seconds):
                first = await self._out.first_attempts()
                meter, started = CpuMeter(pids), time.monotonic()
                if end:  # polling the sink costs PostgreSQL nothing
                    await end.reached(goal, self._seconds)
                await self._out.drained()
                return _sample(self._messages - first, time.monotonic() - started, meter.used())
        except TimeoutError:
            raise LabError(f"not all messages were delivered within {self._seconds:.0f} s") from None


def _sample(messages: int, seconds: float, cpu: Mapping[str, float]) -> Sample:
    if messages <= 0:
        raise LabError("all messages were sent before the first measurement; increase --messages")
    return Sample(messages, seconds, cpu)


def ratio(samples: Mapping[str, Sequence[Sample]], variant: str) -> float:
    """Return a variant's rate as a share of the bare loop's in the same round: the median."""
    return median_ratio((one.rate for one in samples[variant]), (one.rate for one in samples[BARE]))


def as_table(samples: Mapping[str, Sequence[Sample]]) -> str:
    """Return the medians as a table."""
    heads = ["variant", "messages/s", "lowest-highest", "of bare", *(f"{role} µs" for role in ROLES)]
    return table(heads, _rows(samples))


def _rows(samples: Mapping[str, Sequence[Sample]]) -> Iterator[Sequence[str]]:
    for variant, found in samples.items():
        rates = [one.rate for one in found]
        cpu = [statistics.median(one.cpu_us(role) for one in found) for role in ROLES]
        yield [
            variant,
            f"{statistics.median(rates):.0f}",
            spread(rates),
            f"{ratio(samples, variant):.2f}",
            *(f"{figure:.0f}" if figure else "-" for figure in cpu),
        ]
