"""The product as the fault tests run it: its default provider, `sandbox`, sends to a sink by SMTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from server.up.data_folder import RunDir

from ..process import Process
from ..product import Product, product
from ..sink import Mail, read_mails, sink

__all__ = ["TARGETS", "System", "running_system"]

TARGETS: dict[str, tuple[str, ...]] = {
    "dispatcher": ("dispatcher",),
    "server": ("server",),
    "both": ("server", "dispatcher"),
    "postgres": ("postgres",),
    "all": ("postgres", "server", "dispatcher"),
}
"""The processes that a round can kill, in the order in which they are restarted."""
LEASE, ANSWER_TIMEOUT, HOLD = 3.0, 4.0, 6.0
"""In seconds. They are short, so that messages of a killed dispatcher, or in doubt, are soon sent again."""
_LATENCY_TARGET = 1.0  # on a busy machine calls are slow, and rejected ones would not load the product
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
async def running_system(run: RunDir, seed: int) -> AsyncIterator[System]:
    """Run everything for the block.

    Args:
        run: the folder of the run.
        seed: seed of the sink's random delays. With them, kills meet mails that are received but not yet
            answered.
    """
    mails, campaigns = run.data / "mails", run.data / "campaigns.yaml"
    campaigns.write_text(_CAMPAIGNS)
    async with sink(run.data, "sink", "smtp", "--mails", mails, "--seed", seed) as end:
        doubt = {"answer_timeout": ANSWER_TIMEOUT, "in_doubt_hold": HOLD}
        provider = {**end.smtp_settings, "timeout": ANSWER_TIMEOUT, "breaker_pause": 1.0, **doubt}
        settings = {"dispatch": {"lease": LEASE}, "providers": {"sandbox": provider}}
        async with (
            product(run, campaigns=campaigns, settings=settings) as core,
            core.serving(latency_target=_LATENCY_TARGET) as deployment,
            core.dispatching() as dispatcher,
        ):
            server = deployment.servers[0]
            processes = {"postgres": core.postgres, "server": server, "dispatcher": dispatcher}
            processes["mail server"] = end.process
            yield System(core, deployment.port, processes, mails)
