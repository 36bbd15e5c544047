"""Partitions, latency and loss: what each does to callers while it lasts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ..command import log
from .cluster import DATABASES
from .fleet import SERVERS, Fleet

__all__ = ["INCIDENTS", "Impact", "Incident", "Window", "meet"]

_PRIMARY, _STANDBYS = "primary", ("standby", "other standby")
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Window:
    """When something was broken, in seconds since 1970."""

    cause: str
    begun: float
    ended: float


@dataclass(frozen=True, slots=True)
class Incident:
    """Broken links between a host and others. `primary` and `standby` are replaced by the hosts' names."""

    name: str
    host: str
    others: tuple[str, ...]
    delay: float = 0.0
    """Seconds in each direction."""
    loss: float = 0.0
    stops_all: bool = False
    """Whether no trigger can be accepted meanwhile."""
    longest_gap: float = 5.0
    """Seconds without a 204 that are allowed: while it lasts, or after it if it stops everything."""

    @property
    def is_partition(self) -> bool:
        """Whether all packets are lost."""
        return not (self.delay or self.loss)


INCIDENTS = (
    Incident("server and primary parted", SERVERS[0], (_PRIMARY,)),
    Incident("primary and one standby parted", _PRIMARY, _STANDBYS[:1]),
    Incident("primary and both standbys parted", _PRIMARY, _STANDBYS, stops_all=True, longest_gap=15.0),
    Incident("gateway and server parted", "gateway1", SERVERS[1:2]),
    Incident("dispatcher and primary parted", "dispatch1", (_PRIMARY,)),
    Incident("50 ms between servers and primary", _PRIMARY, SERVERS, delay=0.025),
    Incident("50 ms between primary and standbys", _PRIMARY, _STANDBYS, delay=0.025),
    Incident("5 % loss between gateways and servers", "gateway1", SERVERS, loss=0.05),
    Incident("5 % loss between servers and primary", _PRIMARY, SERVERS, loss=0.05),
    Incident("5 % loss between primary and standbys", _PRIMARY, _STANDBYS, loss=0.05),
)


@dataclass(frozen=True, slots=True)
class Impact:
    """What callers saw of an incident."""

    incident: Incident
    window: Window
    seconds: float
    accepted: int
    others: str
    """Other answers while it lasted, by status."""
    gap: float
    """The longest time without a 204, in seconds."""
    back: float | None
    """Seconds from the repair to the next 204; None if there was none."""

    @property
    def failures(self) -> tuple[str, ...]:
        """The guarantees that failed."""
        limit, name = self.incident.longest_gap, self.incident.name
        if self.back is None:
            return (f"{name}: nothing was accepted within {_PATIENCE:g} s after the repair",)
        if self.incident.stops_all:
            late = self.back > limit
            return (f"{name}: accepted again after {self.back:.1f} s, not {limit:g} s",) if late else ()
        late = self.gap > limit
        return (f"{name}: {self.gap:.1f} s without a 204; allowed are {limit:g} s",) if late else ()


async def meet(fleet: Fleet, incident: Incident, seconds: float) -> Impact:
    """Break the links under load for some seconds, and repair them."""
    log(f"{incident.name}, for {seconds:g} s")
    host, *others = (_host(fleet, name) for name in (incident.host, *incident.others))
    began, begun = time.time(), time.monotonic()
    async with _broken(fleet, incident, host, others):
        await asyncio.sleep(seconds)
        ended = time.monotonic()
        meanwhile = fleet.load.others(begun)
    repaired = time.monotonic()
    back = await fleet.load.first_accepted(repaired, _PATIENCE)
    await fleet.databases.until_quorum()
    return Impact(
        incident,
        Window(incident.name, began, time.time()),
        ended - begun,
        accepted=sum(one.accepted and begun <= one.ended <= ended for one in fleet.load.answers),
        others=", ".join(f"{result}: {count}" for result, count in sorted(meanwhile.items())) or "-",
        gap=fleet.load.longest_gap(begun, ended),
        back=None if back is None else back - repaired,
    )


@asynccontextmanager
async def _broken(fleet: Fleet, incident: Incident, host: str, others: list[str]) -> AsyncIterator[None]:
    try:
        if incident.is_partition:
            await fleet.network.cut(host, *others)
            yield
            return
        async with fleet.network.relay(fleet.folder, incident.delay, incident.loss).running():
            await fleet.network.impair(host, *others)
            yield
            await fleet.network.heal()
    finally:
        await fleet.network.heal()


def _host(fleet: Fleet, name: str) -> str:
    primary = fleet.databases.primary.host
    standbys = [host for host in DATABASES if host != primary]
    return {_PRIMARY: primary, **dict(zip(_STANDBYS, standbys, strict=True))}.get(name, name)
