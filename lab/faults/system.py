"""The product as the fault tests run it: its default provider, `sandbox`, sends to a sink by SMTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.up.data_folder import RunDir

from ..process import Process
from ..product import Product, product
from ..sink import Mail, Sink, read_mails, sink

__all__ = ["LATENCY_TARGET", "LEASE", "MAILS", "TARGETS", "System", "mail_server", "running_system"]

TARGETS: dict[str, tuple[str, ...]] = {
    "dispatcher": ("dispatcher",),
    "server": ("server",),
    "both": ("server", "dispatcher"),
    "postgres": ("postgres",),
    "all": ("postgres", "server", "dispatcher"),
}
"""The processes that a round can kill, in the order in which they are restarted."""
MAILS = "mails"
"""The file with the received mails, in the folder of the run."""
LEASE, ANSWER_TIMEOUT, HOLD = 3.0, 4.0, 6.0
"""In seconds. They are short, so that messages of a killed dispatcher, or in doubt, are soon sent again."""
LATENCY_TARGET = 10.0  # on a busy machine calls are slow, and rejected ones would not load the product
_CAMPAIGNS = """
project: faults
campaigns:
  - id: 44
    name: fault test
    channel: email
    provider: sandbox
    sender: faults@clarion.example
    templates: {default: {subject: "{{ event.call }}", text: "This is {{ event.call }}."}}
"""


@dataclass(frozen=True, slots=True)
class System:
    """The running product and its sink."""

    product: Product
    port: int
    processes: Mapping[str, Process]
    """PostgreSQL, server, dispatcher and mail server by name."""
    _mails: Path

    def mails(self, prefix: str) -> list[Mail]:
        """Return the received mails whose subject starts with the prefix."""
        return [mail for mail in read_mails(self._mails) if mail.subject.startswith(prefix)]

    async def drain(self, seconds: float) -> int:
        """Wait until the queue is empty; return how many triggers are left after the given seconds."""
        left = -1
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while left := await self.product.queued():  # noqa: ASYNC110 - a queue raises no event
                    await asyncio.sleep(0.2)
        return left


@asynccontextmanager
async def mail_server(run: RunDir, seed: int | None) -> AsyncIterator[tuple[Sink, Path, dict[str, Any]]]:
    """Run a sink for mails for the block; return it, a campaign file, and settings to send to it.

    Args:
        run: the folder of the run.
        seed: seed of the sink's random delays. With them, kills meet mails that are received but not yet
            answered. None: it replies at once, and does not record the mails.
    """
    campaigns = run.data / "campaigns.yaml"
    campaigns.write_text(_CAMPAIGNS)
    options = () if seed is None else ("--mails", run.data / MAILS, "--seed", seed)
    async with sink(run.data, "sink", "smtp", *options) as end:
        doubt = {"answer_timeout": ANSWER_TIMEOUT, "in_doubt_hold": HOLD}
        provider = {**end.smtp_settings, "timeout": ANSWER_TIMEOUT, "breaker_pause": 1.0, **doubt}
        yield end, campaigns, {"dispatch": {"lease": LEASE}, "providers": {"sandbox": provider}}


@asynccontextmanager
async def running_system(run: RunDir, seed: int) -> AsyncIterator[System]:
    """Run everything for the block; the arguments are those of `mail_server`."""
    async with (
        mail_server(run, seed) as (end, campaigns, settings),
        product(run, campaigns=campaigns, settings=settings) as core,
        core.serving(latency_target=LATENCY_TARGET) as deployment,
        core.dispatching() as dispatcher,
    ):
        server = deployment.servers[0]
        processes = {"postgres": core.postgres, "server": server, "dispatcher": dispatcher}
        processes["mail server"] = end.process
        yield System(core, deployment.port, processes, run.data / MAILS)
