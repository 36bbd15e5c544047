"""Hosts in network namespaces, joined by a bridge; links between two of them can be cut or impaired.

The bridge is in the namespace of this process, which is new, too. So nothing changes in the machine's
network. A cut link loses packets silently, as an unplugged cable does: each side has a wrong hardware address
for the other.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from ..errors import LabError
from ..process import Process, module_command, module_env, output_of

__all__ = ["Network", "missing", "network", "own_namespace"]

_NAMES = "clarion-{pid}-{host}"
_NAME = re.compile(r"clarion-(?P<pid>[0-9]+)-")
_RUN = Path("/run/netns")
_TUN = Path("/dev/net/tun")
_BRIDGE, _OPERATOR, _RELAY = "lan", 1, 2
_FIRST = 11
_IP_SECONDS = 60.0
"""Longer than any command takes on a busy machine."""
_NOWHERE = "02:00:00:00:00:01"
"""A hardware address that no interface has."""
_NEWNET = 0x40000000  # CLONE_NEWNET, clone(2)


def missing() -> str:
    """Return what this machine lacks for a run, or an empty string."""
    if os.geteuid() != 0:
        return "needs root, to create network namespaces"
    if shutil.which("ip") is None:
        return "needs the command ip; install the Debian package iproute2"
    return "" if _TUN.exists() else f"needs {_TUN}, to delay and lose packets; load the kernel module tun"


def own_namespace() -> None:
    """Move this process, which must have one thread only, into a new network namespace.

    Raises:
        LabError: The kernel refuses it, as in most containers.
    """
    if ctypes.CDLL(None, use_errno=True).unshare(_NEWNET):
        reason = os.strerror(ctypes.get_errno())
        raise LabError(f"cannot create a network namespace: {reason}; run it on a machine or in a VM")


@dataclass
class Network:
    """The hosts, and the state of the links between them."""

    addresses: dict[str, str]
    """The address of each host by its name."""
    _cut: set[frozenset[str]] = field(default_factory=set)
    _impaired: set[frozenset[str]] = field(default_factory=set)

    def command(self, host: str) -> list[str]:
        """Return what to put before a command to run it on a host."""
        return ["ip", "netns", "exec", self._namespace(host)]

    async def cut(self, host: str, *others: str) -> None:
        """Lose all packets between a host and others, in both directions."""
        for other in others:
            self._cut.add(frozenset((host, other)))
            await self._neighbour(host, other, reachable=False)
            await self._neighbour(other, host, reachable=False)

    async def impair(self, host: str, *others: str) -> None:
        """Send what a host and others exchange through the relay, which delays and loses packets."""
        for other in others:
            self._impaired.add(frozenset((host, other)))
            for one, two in ((host, other), (other, host)):
                via = f"10.88.0.{_RELAY}"
                await self._ip(one, "route", "replace", f"{self.addresses[two]}/32", "via", via)

    async def heal(self) -> None:
        """Repair all links."""
        for one, two in map(sorted, self._cut):
            await self._neighbour(one, two, reachable=True)
            await self._neighbour(two, one, reachable=True)
        for one, two in map(sorted, self._impaired):
            await self._ip(one, "route", "del", f"{self.addresses[two]}/32")
            await self._ip(two, "route", "del", f"{self.addresses[one]}/32")
        self._cut.clear()
        self._impaired.clear()

    def relay(self, folder: Path, delay: float, loss: float) -> Process:
        """Return the process that carries the packets of impaired links.

        Args:
            folder: Where its log is.
            delay: Seconds in each direction.
            loss: The part of packets that is lost.
        """
        command = [*self.command("relay"), *module_command("machines.relay", delay, loss)]
        return Process("relay", command, folder, env=module_env(), ready="relaying")

    async def create(self) -> None:
        """Create bridge and hosts."""
        await _ip("link", "set", "lo", "up")
        await _ip("link", "add", _BRIDGE, "type", "bridge")
        await _ip("addr", "add", f"10.88.0.{_OPERATOR}/24", "dev", _BRIDGE)
        await _ip("link", "set", _BRIDGE, "up")
        for host, address in {**self.addresses, "relay": f"10.88.0.{_RELAY}"}.items():
            name = self._namespace(host)
            await _ip("netns", "add", name)
            await _ip("link", "add", f"v-{host}", "type", "veth", "peer", "name", "eth0", "netns", name)
            await _ip("link", "set", f"v-{host}", "master", _BRIDGE, "up")
            await self._ip(host, "link", "set", "lo", "up")
            await self._ip(host, "addr", "add", f"{address}/24", "dev", "eth0")
            await self._ip(host, "link", "set", "eth0", "up")

    async def delete(self) -> None:
        """Kill all processes on the hosts, and delete the hosts."""
        for host in (*self.addresses, "relay"):
            await _delete(self._namespace(host))

    async def kill_all(self, host: str) -> None:
        """Kill every process on a host at once, as a loss of power does."""
        await _kill(self._namespace(host))

    async def _neighbour(self, host: str, other: str, *, reachable: bool) -> None:
        address = (self.addresses[other], "dev", "eth0")
        if reachable:
            await self._ip(host, "neigh", "del", *address)
        else:
            await self._ip(host, "neigh", "replace", *address, "lladdr", _NOWHERE, "nud", "permanent")

    async def _ip(self, host: str, *words: str) -> None:
        await _ip("-n", self._namespace(host), *words)

    def _namespace(self, host: str) -> str:
        return _NAMES.format(pid=os.getpid(), host=host)


@asynccontextmanager
async def network(hosts: Iterable[str]) -> AsyncIterator[Network]:
    """Create hosts for the block, and delete them and their processes at the end.

    What runs that were killed have left behind is deleted first.
    """
    await _delete_leftovers()
    made = Network({host: f"10.88.0.{number}" for number, host in enumerate(hosts, _FIRST)})
    try:
        await made.create()
        yield made
    finally:
        await asyncio.shield(made.delete())


async def _delete_leftovers() -> None:
    for name in _existing():
        found = _NAME.match(name)
        if found and not psutil.pid_exists(int(found["pid"])):
            await _delete(name)


def _existing() -> list[str]:
    """Return the names of all network namespaces, with those of other programs."""
    return sorted(path.name for path in _RUN.iterdir()) if _RUN.exists() else []


async def _delete(name: str) -> None:
    if name in _existing():
        await _kill(name)
        await _ip("netns", "del", name)


async def _kill(name: str) -> None:
    """Kill the processes of a namespace until it has none: a process may have started another one."""
    while pids := (await _ip("netns", "pids", name)).split():
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        await asyncio.sleep(0.05)


async def _ip(*words: str) -> str:
    return await output_of(f"ip {' '.join(words)}", ("ip", *words), _IP_SECONDS)
