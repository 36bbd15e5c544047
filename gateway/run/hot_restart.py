"""Envoy's hot restart: a new Envoy takes the listening socket over from the old one.

The Envoys of one gateway find each other by a number, the base ID, that names a small piece of shared memory
and the sockets between them. Envoy chooses the number, so that gateways on one machine do not collide.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from ..errors import GatewayError
from ..settings import GatewaySettings
from . import admin
from .command import command
from .process import Envoy
from .shared_memory import ID_FILE, SHARED_MEMORY, remove_memory

__all__ = ["HotRestart", "parent_seconds"]

RENEWAL_SECONDS = 10.0
POLL_SECONDS = 0.05


class HotRestart:
    """The succession of Envoys in one folder.

    Attributes:
        epoch: number of the Envoy that serves, counted from 0.
        interrupted: whether the last new Envoy ended while it started.
    """

    def __init__(self, folder: Path) -> None:
        self.epoch = 0
        self.interrupted = False
        self._folder = folder

    @staticmethod
    def is_possible() -> bool:
        """Return whether this system has what hot restart needs."""
        return sys.platform == "linux" and os.access(SHARED_MEMORY, os.W_OK)

    def arguments(self, settings: GatewaySettings, epoch: int) -> tuple[str, ...]:
        """Return the command-line arguments for the Envoy of an epoch."""
        base_id = ("--base-id", self._id()) if epoch else ("--use-dynamic-base-id", "--base-id-path", ID_FILE)
        return (
            *base_id,
            *_epoch(epoch, socket_path="hot"),
            *("--drain-strategy", "immediate"),
            *("--parent-shutdown-time-s", str(parent_seconds(settings))),
        )

    async def recover(self, settings: GatewaySettings) -> None:
        """Allow the next Envoy to start although the last one ended while it started.

        It left a mark in the shared memory. While the mark is there, every other Envoy refuses to start
        ("previous envoy process is still initializing"). An Envoy of epoch 0 creates the memory anew, so one
        without listeners is started and ended. The Envoy that serves is not affected: a hand-over goes
        through sockets, and this Envoy has its own.

        Raises:
            GatewayError: the short-lived Envoy did not start.
        """
        socket = Path(settings.admin_socket).with_name("new.sock")
        config = self._folder / "new.json"
        config.write_text(json.dumps({"admin": {"address": {"pipe": {"path": str(socket), "mode": 0o600}}}}))
        arguments = ("--base-id", self._id(), *_epoch(0, socket_path="new"))
        envoy = await Envoy.start(command(settings, config, arguments), self._folder)
        try:
            async with asyncio.timeout(RENEWAL_SECONDS):
                while not await admin.is_live(socket):  # noqa: ASYNC110  # Envoy sends no event
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise GatewayError(
                "cannot renew the shared memory for Envoy's hot restart; restart the gateway:\n"
                f"{envoy.last_lines}"
            ) from None
        finally:
            await envoy.end()
            socket.unlink(missing_ok=True)
        self.interrupted = False

    def close(self) -> None:
        """Remove the shared memory, once no Envoy runs."""
        remove_memory(self._folder)

    def _id(self) -> str:
        return (self._folder / ID_FILE).read_text().strip()


def parent_seconds(settings: GatewaySettings) -> int:
    """Return how many seconds an old Envoy keeps running next to the new one to end its calls in flight."""
    return 1 + max(1, round(settings.drain_timeout))


def _epoch(epoch: int, *, socket_path: str) -> tuple[str, ...]:
    """Return the arguments for an epoch and its sockets.

    The sockets are in Envoy's folder: the default is an abstract socket, open to every user of the machine.
    """
    return ("--restart-epoch", str(epoch), "--socket-path", socket_path, "--socket-mode", "600")
