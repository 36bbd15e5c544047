"""Scenarios around the dispatcher: hanging DNS, a distant database, a dispatcher that was suspended."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import asyncpg

from server.domain.webhook import EventType, new_secret
from server.store.admin.endpoints import create_endpoint
from server.up.data_folder import RunDir

from ..errors import LabError
from ..load import Connection, post_all
from ..product import Product, product
from ..sink import Sink, sink
from .distant import distant
from .finding import Finding, finding
from .hanging_names import DOMAIN, HANGS
from .load import RecordedLoad
from .system import LATENCY_TARGET, MAILS, System, mail_server

__all__ = ["DELAY_LIMIT", "PACE", "ROUND_TRIP", "distant_database", "hanging_dns", "zombie_dispatcher"]

DELAY_LIMIT = 10.0
"""Seconds that a mail may take while the DNS of other providers hangs."""
ROUND_TRIP = 0.05
PACE = 0.5
"""The least pace of webhooks, as a part of the mails' pace."""
_HANGING = 16
"""More providers than an event loop has threads for lookups on a machine with 8 cores."""
_CALLERS = 6
_LOADED = 10.0
_BACKLOG = 1500
_ROUNDS = 3
_PATIENCE = 120.0
_USER = b'{"user": {"external_id": "user-1", "email": "user-1@faults.example"}, "event": {"call": "%s"}}'
_CAMPAIGN = """
  - id: {id}
    name: hanging DNS
    channel: email
    provider: {provider}
    sender: faults@clarion.example
    templates: {{default: {{subject: hi, text: hi}}}}
"""


async def hanging_dns(run: RunDir) -> Finding:
    """Send mails while the names of other providers cannot be looked up.

    Raises:
        LabError: The product does not accept calls, or does not deliver within two minutes.
    """
    async with mail_server(run, 0) as (end, campaigns, settings):
        settings["providers"]["sandbox"]["host"] = "localhost"  # a name, so that it is looked up, too
        names = {f"hangs{number}": 100 + number for number in range(_HANGING)}
        for name, campaign in names.items():
            settings["providers"][name] = {**end.smtp_settings, "host": f"{name}{DOMAIN}"}
            with campaigns.open("a") as file:
                file.write(_CAMPAIGN.format(id=campaign, provider=name))
        program = (sys.executable, "-P", "-m", "lab.faults.hanging_names")
        async with (
            product(run, campaigns=campaigns, settings=settings) as core,
            core.serving(latency_target=LATENCY_TARGET) as deployment,
            core.dispatching(program=program) as dispatcher,
        ):
            system = System(core, deployment.port, {}, run.data / MAILS)
            await _trigger_each(system, names.values())
            load = RecordedLoad(system, "dns")
            async with load.running(_CALLERS):
                await asyncio.sleep(_LOADED)
            await asyncio.sleep(DELAY_LIMIT)
            delivered = await core.rows(_SLOWEST)
            hanging = len(await asyncio.to_thread(_hung, dispatcher.log))
    count, slowest = int(delivered[0]["count"]), float(delivered[0]["seconds"] or 0.0)
    return finding(
        "hanging DNS",
        {"accepted": len(load.accepted), "delivered": count, "slowest (s)": slowest}
        | {"providers with hanging names": hanging},
        {
            f"every mail is sent within {DELAY_LIMIT:g} s": slowest <= DELAY_LIMIT
            and count >= len(load.accepted) > 0,
            "lookups of all the other providers hang at once": hanging == _HANGING,
        },
    )


async def distant_database(run: RunDir) -> Finding:
    """Deliver a backlog, and webhooks about it, by a dispatcher whose database is 50 ms away.

    Raises:
        LabError: Mails or webhooks do not arrive within two minutes.
    """
    async with _with_endpoint(run, {}) as (core, mails, events, port):
        bodies = [_USER % str(number).encode() for number in range(_BACKLOG)]
        await post_all(port, core.key, bodies, connections=_CALLERS)
        async with (
            distant(run.sockets, ROUND_TRIP) as url,
            core.dispatching({"database": {"url": url}}),
        ):
            await mails.reached(1, _PATIENCE)
            begun = time.monotonic()
            await mails.reached(_BACKLOG, _PATIENCE)
            await events.reached(_BACKLOG, _PATIENCE)
    mail_pace, event_pace = (_BACKLOG / (one.counts.last_at - begun) for one in (mails, events))
    return finding(
        "distant database",
        {"mails/s": mail_pace, "webhooks/s": event_pace},
        {f"webhooks are sent at {PACE:.0%} of the pace of mails, at least": event_pace >= PACE * mail_pace},
    )


async def zombie_dispatcher(run: RunDir) -> Finding:
    """Suspend one of two dispatchers until the other has sent its messages, and let it continue.

    Raises:
        LabError: The other one takes nothing over, or the queue does not drain, within two minutes.
    """
    patient = {"answer_timeout": _PATIENCE, "timeout": _PATIENCE}  # the zombie reads its answers late
    async with (
        _with_endpoint(run, patient, seed=0) as (core, _, events, port),
        core.dispatching(name="zombie") as zombie,
        core.dispatching(),
    ):
        load = RecordedLoad(System(core, port, {}, run.data / MAILS), "zombie")
        async with load.running(_CALLERS):
            for _ in range(_ROUNDS):
                await asyncio.sleep(1.0)
                zombie.send_signal(signal.SIGSTOP)
                try:
                    await _until_taken_over(core)
                finally:
                    zombie.send_signal(signal.SIGCONT)
        await _until_empty(core)
        twice = int((await core.rows(_TWICE))[0][0])
        counts = {str(row["trigger_id"]): int(row["ids"]) for row in await core.rows(_EVENTS)}
    several = sum(count > 1 for count in counts.values())
    without = len(set(load.accepted.values()) - counts.keys())
    return finding(
        "zombie dispatcher",
        {"accepted": len(load.accepted), "sent by both": twice, "webhooks": events.counts.messages}
        | {"with several events": several, "without an event": without},
        {
            "the suspended dispatcher records what it sent (otherwise this shows nothing)": twice > 0,
            "each delivery is one event with one ID": not several,
            "each delivery has an event": not without,
        },
    )


_SLOWEST = """
    SELECT count(*), max(extract(epoch FROM a.started_at - t.accepted_at) + a.duration)::float8 AS seconds
    FROM attempt AS a JOIN trigger AS t ON t.id = a.trigger_id WHERE a.outcome = 'delivered'
"""
_TWICE = """
    SELECT count(*) FROM (
        SELECT FROM attempt WHERE outcome = 'delivered' GROUP BY trigger_id HAVING count(*) > 1) AS twice
"""
_EVENTS = """
    SELECT trigger_id, count(DISTINCT id) AS ids FROM webhook_message
    WHERE type = 'trigger.delivered' GROUP BY trigger_id
"""
_TAKEN_OVER = """
    SELECT EXISTS (SELECT FROM attempt AS a JOIN attempt AS lost USING (trigger_id)
        WHERE lost.outcome = 'lost' AND a.outcome = 'delivered' AND a.number > lost.number
            AND a.started_at > $1)
"""
_WAITING = "SELECT (SELECT count(*) FROM queue) + (SELECT count(*) FROM webhook_queue)"


@asynccontextmanager
async def _with_endpoint(
    run: RunDir, provider: Mapping[str, Any], *, seed: int | None = None
) -> AsyncIterator[tuple[Product, Sink, Sink, int]]:
    """Run everything but a dispatcher; return the product, the sinks of mails and events, and the port.

    Args:
        run: The folder of the run.
        provider: More settings of the provider.
        seed: As for `mail_server`.
    """
    async with (
        mail_server(run, seed) as (mails, campaigns, settings),
        sink(run.data, "events", "http") as events,
    ):
        settings["providers"]["sandbox"].update(provider)
        settings["webhooks"] = {"allow": "127.0.0.0/8"}
        async with (
            product(run, campaigns=campaigns, settings=settings) as core,
            core.serving(latency_target=LATENCY_TARGET) as deployment,
        ):
            await _create_endpoint(core, f"http://127.0.0.1:{events.counts.port}/events")
            yield core, mails, events, deployment.port


async def _create_endpoint(core: Product, url: str) -> None:
    connection = await asyncpg.connect(core.database_url)
    try:
        async with connection.transaction():
            await create_endpoint(
                connection, project="faults", url=url, events=[EventType.DELIVERED], secret=new_secret()
            )
    finally:
        await connection.close()


async def _trigger_each(system: System, campaigns: Iterable[int]) -> None:
    """Trigger each campaign once.

    Raises:
        LabError: One was not accepted.
    """
    connection = Connection(system.port, system.product.key)
    for campaign in campaigns:
        answer = await connection.post(f"/api/client/campaigns/{campaign}/trigger", _USER % b"hangs")
        if answer.status != HTTPStatus.NO_CONTENT:
            raise LabError(f"campaign {campaign} was answered with {answer.status}")
    connection.close()


async def _until_taken_over(core: Product) -> None:
    """Wait until attempts of the suspended dispatcher are lost and made again by the other one."""
    rows = await core.rows("SELECT now() AS at")

    async def delivered() -> bool:
        return bool((await core.rows(_TAKEN_OVER, rows[0]["at"]))[0][0])

    await _wait(delivered, "the other dispatcher takes over what the suspended one has claimed")


async def _until_empty(core: Product) -> None:
    async def empty() -> bool:
        return not (await core.rows(_WAITING))[0][0]

    await _wait(empty, "the queues are empty")


def _hung(log: Path) -> set[str]:
    """Return the names whose lookups hang, from the dispatcher's log."""
    lines = log.read_text(errors="replace").splitlines()
    return {line.removeprefix(HANGS) for line in lines if line.startswith(HANGS)}


async def _wait(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait until a condition is met.

    Raises:
        LabError: It was not met within two minutes.
    """
    try:
        async with asyncio.timeout(_PATIENCE):
            while not await condition():  # noqa: ASYNC110 - another process changes it
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise LabError(f"not within {_PATIENCE:g} s: {what}") from None
