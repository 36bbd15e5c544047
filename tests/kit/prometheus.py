"""Prometheus: what it reads from a process, and Debian's tools if they are installed."""

from __future__ import annotations

import asyncio
import contextlib
import shutil

import httpx
import pytest

from .http_client import http_client

__all__ = ["parsed", "program", "scraped", "scraped_text"]

_SECONDS = 60


def program(name: str) -> str:
    """Return the path of `promtool` or `prometheus`, or skip the test if it is not installed."""
    found = shutil.which(name)
    if not found:
        pytest.skip(f"needs {name}: apt-get install prometheus")
    return found


async def scraped_text(listen: str) -> str:
    """Return what Prometheus would read at `host:port`, once a process listens there."""
    async with http_client() as client, asyncio.timeout(_SECONDS):
        while True:
            with contextlib.suppress(httpx.ConnectError):
                answer = await client.get(f"http://{listen}/metrics")
                answer.raise_for_status()
                return answer.text
            await asyncio.sleep(0.05)


async def scraped(listen: str) -> dict[str, float]:
    """Return the value of each series, by its name and labels."""
    return parsed(await scraped_text(listen))


def parsed(text: str) -> dict[str, float]:
    """Return the value of each series in a text, by its name and labels."""
    lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}
