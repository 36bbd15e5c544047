"""Runs the portal until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from .api import Credentials
from .app import create_app
from .observed import Observe, Observed
from .settings import PortalSettings

__all__ = ["lower_priority", "run_portal"]

_UNIX = "unix:"
_KEEP_ALIVE_SECONDS = 75
"""Longer than the gateway keeps an unused connection (gateway/config/portal.py), which therefore ends it."""
_AT_ONCE = 400
"""Requests and live tails; the gateway allows fewer."""
_GRACE_SECONDS = 2
_NICENESS = 5
"""A third of the CPU time of servers and dispatchers that compete with it (sched(7)): a flood of requests for
pages, which need no key, cannot slow triggers much."""


class _Server(uvicorn.Server):
    """Ends with exit code 0 on a signal: uvicorn raises the signal again after an orderly end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on SIGTERM and SIGINT during the block."""
        loop, numbers = asyncio.get_running_loop(), (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)


async def run_portal(
    settings: PortalSettings, observe: Observe | None = None, credentials: Credentials | None = None
) -> None:
    """Serve the portal on `settings.listen`, at a lower priority than the processes that serve triggers.

    Args:
        settings: Its settings.
        observe: Called for each request.
        credentials: The certificate for servers.
    """
    lower_priority()
    app = create_app(settings, credentials)
    config = uvicorn.Config(
        Observed(app, observe) if observe else app,
        loop="none",  # it runs already
        http="h11",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_AT_ONCE,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    listening = _listen(settings.listen)
    try:
        await _Server(config).serve(sockets=[listening])
    finally:
        listening.close()


def lower_priority() -> None:
    """Let processes that serve triggers have the CPU before this one.

    Linux may divide the CPU between sessions first (sched(7): "autogroup"). Then the niceness of a
    process counts only within its session, of which the portal is usually the only process.
    """
    os.nice(_NICENESS)
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):  # this kernel has no such feature
            Path("/proc/self/autogroup").write_text(str(_NICENESS), encoding="ascii")


def _listen(address: str) -> socket.socket:
    """Return a listening socket; a Unix socket is for this user only."""
    if address.startswith(_UNIX):
        path = Path(address.removeprefix(_UNIX))
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            path.unlink()  # of a portal that was killed
        found = socket.socket(socket.AF_UNIX)
        found.bind(str(path))
        path.chmod(0o600)
        return found
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind((host.strip("[]"), int(port)))
    return found
