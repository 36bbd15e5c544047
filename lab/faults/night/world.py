"""The running Clarion of the drill: `clarion up`, a mail server, a webhook receiver and steady calls."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from server.up.data_folder import sockets_folder

from ...load import Connection
from ...process import free_port
from ...prometheus import Prometheus, prometheus
from ...up import ClarionUp
from .outside import PASSWORD, USER, MailServer, Receiver

__all__ = ["FLOOD", "RECEIPT", "World", "world"]

WELCOME, FLOOD, RECEIPT = 44, 45, 46
"""Campaigns: the last belongs to a template that an incident breaks, the second to another project."""
PACE = 0.2
"""Seconds between calls."""
_RATE = 40
"""Messages per second that the provider accepts."""
_SCRAPE = "2s"
_CAMPAIGNS = """
project: {project}
campaigns:
  - id: {id}
    name: {name}
    channel: email
    provider: smtp
    sender: night@clarion.example
    templates: {{default: {{subject: "{name}", text: "{text}"}}}}
"""


class _PatientUp(ClarionUp):
    """Commands may take long on a busy machine."""

    start_seconds = stop_seconds = command_seconds = 120.0


@dataclass
class World:
    """What incidents change, and what an operator sees."""

    up: ClarionUp
    mail: MailServer
    receiver: Receiver
    prometheus: Prometheus
    targets: list[str]
    """The addresses of metrics."""
    keys: dict[str, str] = field(default_factory=dict)
    """API keys by project."""

    @property
    def database_url(self) -> str:
        """The URL of the embedded database."""
        return f"postgresql://clarion@/clarion?host={sockets_folder(self.up.data)}"

    async def status(self) -> dict[str, Any]:
        """Return what `clarion status --json` prints."""
        _, out, _ = await self.up.run("status", "--json")
        found: dict[str, Any] = json.loads(out) if out else {"problems": []}
        return found

    async def apply(self, project: str, number: int, name: str, text: str) -> None:
        """Create or change a campaign; each is in its own file."""
        file = self.up.folder / f"{name}.yaml"
        file.write_text(_CAMPAIGNS.format(project=project, id=number, name=name, text=text))
        await self.up.check("campaigns", "apply", str(file))

    async def call(self, project: str, campaign: int, count: int, pace: float = 0.0) -> None:
        """Trigger a campaign several times, one after the other; errors do not end it.

        Args:
            project: The project whose key is used.
            campaign: The campaign.
            count: The number of calls.
            pace: Seconds between calls.
        """
        connection = Connection(self.up.port, self.keys[project])
        path = f"/api/client/campaigns/{campaign}/trigger"
        for number in range(count):
            user = {"external_id": f"user-{number}", "email": f"user-{number}@night.example"}
            body = json.dumps({"user": user, "event": {"items": 0}}).encode()
            with suppress(OSError, ConnectionError):
                await connection.post(path, body)
            await asyncio.sleep(pace)
        connection.close()

    def processes(self, command: str) -> Iterator[psutil.Process]:
        """Return the processes of Clarion that run a command, such as `serve`, or `postgres`."""
        assert self.up.process  # noqa: S101 - it runs
        for child in psutil.Process(self.up.process.pid).children():
            with suppress(psutil.Error):  # it has just ended
                if command in {Path(word).name for word in child.cmdline()}:
                    yield child


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    """Run everything for the block, with calls to the project `shop`.

    Args:
        folder: An existing folder, with its absolute path.
    """
    mail, receiver = MailServer(), Receiver()
    ports = {section: free_port() for section in ("dispatch", "portal", "gateway")}
    first = _two_ports()
    settings = _settings(folder, mail, {**ports, "server": first})
    up = _PatientUp(folder / "up", free_port(), settings=settings)
    targets = [f"127.0.0.1:{port}" for port in (*ports.values(), first, first + 1)]
    (folder / "prometheus").mkdir()
    async with AsyncExitStack() as stack:
        for one in (mail.listener, receiver.listener):
            await one.open()
            stack.callback(one.close)
        await up.start()
        stack.push_async_callback(up.stop)
        watching = await stack.enter_async_context(prometheus(folder / "prometheus", targets, scrape=_SCRAPE))
        made = World(up, mail, receiver, watching, targets)
        await _prepare(made)
        await watching.until_reached(len(targets))
        calls = asyncio.create_task(made.call("shop", WELCOME, 1_000_000, PACE))
        stack.callback(calls.cancel)
        yield made


def _settings(folder: Path, mail: MailServer, ports: dict[str, int]) -> dict[str, Any]:
    metrics = {section: {"metrics": f"127.0.0.1:{port}"} for section, port in ports.items()}
    smtp = {"type": "smtp", "host": "127.0.0.1", "port": mail.listener.port, "security": "none"}
    login = {"username": USER, "password": PASSWORD}
    return {
        "data_dir": str(folder / "up" / ".clarion"),  # so that commands work in any folder
        **metrics,
        "server": {**metrics["server"], "processes": 2},
        "webhooks": {"allow": ["127.0.0.0/8"]},
        "providers": {"smtp": {**smtp, **login, "rate": _RATE}},
    }


def _two_ports() -> int:
    """Return a free port whose successor is free, too."""
    while True:
        first = free_port()
        if free_port() == first + 1:
            return first


async def _prepare(made: World) -> None:
    """Create the projects, their campaigns and keys, and a webhook endpoint."""
    await made.apply("shop", WELCOME, "welcome", "Hello {{ user.external_id }}")
    await made.apply("shop", RECEIPT, "receipt", "Thank you")
    await made.apply("lottery", FLOOD, "draw", "You may have won")
    for project in ("shop", "lottery"):
        out = await made.up.check("keys", "create", "--project", project, "--name", "night")
        [made.keys[project]] = re.findall(r"\bsk_\S+", out)
    event = ("--event", "trigger.delivered")
    await made.up.check("webhooks", "create", "--project", "shop", "--url", made.receiver.url, *event)
