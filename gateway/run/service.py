"""Runs the gateway as a service: until a signal, and with a new Envoy when the last one was killed."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace

from ..errors import GatewayError
from ..settings import GatewaySettings
from . import admin
from .runner import Gateway, Notify, log, running

__all__ = ["envoy_metrics", "keep_running", "run_gateway"]

QUICK_SECONDS = 10.0
"""An Envoy that ends earlier than this after its start may have a lasting problem."""
PAUSES = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Seconds before each new start after quick ends in a row. After the last one the gateway ends."""


async def run_gateway(
    settings: GatewaySettings,
    *,
    workdir: Path,
    reload: Callable[[], GatewaySettings] | None = None,
    notify: Notify | None = None,
) -> int:
    """Run the gateway until SIGTERM or SIGINT, drain it, and return its exit code (0 after a signal).

    On SIGHUP a new Envoy takes over. An Envoy that ended unexpectedly is started again, unless several
    starts in a row fail; then its exit code is returned.

    Args:
        settings: the gateway's settings.
        workdir: folder for Envoy's files.
        reload: returns the settings for a new Envoy; by default they stay the same.
        notify: as in `running`.

    Raises:
        GatewayError: as in `running`.
    """
    stopping, renewal = asyncio.Event(), asyncio.Event()
    with _signals({signal.SIGTERM: stopping, signal.SIGINT: stopping, signal.SIGHUP: renewal}):
        async with running(settings, workdir=workdir, notify=notify) as gateway:
            renewing = asyncio.create_task(
                _renew_on(renewal, gateway, reload or (lambda: settings), notify or log)
            )
            ended = asyncio.create_task(keep_running(gateway, notify or log))
            stop = asyncio.create_task(stopping.wait())
            await asyncio.wait({ended, stop, renewing}, return_when=asyncio.FIRST_COMPLETED)
            code = await gateway.stop() if stopping.is_set() else await ended
            for task in (renewing, stop, ended):
                task.cancel()
            return code


async def envoy_metrics(settings: GatewaySettings) -> str:
    """Return the metrics of the Envoy that runs with these settings, in Prometheus's text format.

    Raises:
        GatewayError: it does not answer, or has no admin interface.
    """
    if settings.admin_path is None:
        raise GatewayError("Envoy's metrics need an admin socket; set gateway.admin_socket")
    try:
        return await admin.metrics(settings.admin_path)
    except admin.AdminError as error:
        raise GatewayError(f"Envoy's admin interface does not answer: {error}") from error


async def keep_running(gateway: Gateway, notify: Notify) -> int:
    """Start Envoy again whenever it ends; return its exit code after `stop`, or if that does not help."""
    clock = asyncio.get_running_loop().time
    quick_ends = 0
    while True:
        begun = clock()
        code = await gateway.wait()
        quick_ends = quick_ends + 1 if clock() - begun < QUICK_SECONDS else 0
        if gateway.is_stopped or quick_ends > len(PAUSES):
            return code
        notify(f"Envoy ended unexpectedly with exit code {code}; starting it again")
        await asyncio.sleep(PAUSES[quick_ends - 1] if quick_ends else 0)
        try:
            await gateway.restart()
        except GatewayError as error:
            notify(f"cannot start Envoy: {error}")


async def _renew_on(
    renewal: asyncio.Event, gateway: Gateway, reload: Callable[[], GatewaySettings], notify: Notify
) -> None:
    """Renew the gateway whenever the event is set; several settings during a renewal count as one."""
    while True:
        await renewal.wait()
        renewal.clear()
        try:
            await gateway.renew(replace(reload(), admin_socket=gateway.settings.admin_socket))
        except Exception as error:  # errors of `reload` included: the old Envoy continues in any case
            notify(f"the gateway keeps running with its previous settings: {error}")


@contextmanager
def _signals(events: dict[signal.Signals, asyncio.Event]) -> Iterator[None]:
    """Set these events on their signals during the block."""
    loop = asyncio.get_running_loop()
    for number, event in events.items():
        loop.add_signal_handler(number, event.set)
    try:
        yield
    finally:
        for number in events:
            loop.remove_signal_handler(number)
