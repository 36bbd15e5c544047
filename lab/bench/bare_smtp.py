"""The baseline for email: aiosmtplib in a loop.

`python -m lab.bench.bare_smtp PORT CONNECTIONS MESSAGES FILE`.

It sends one prepared message repeatedly over open connections, without a queue, templates or records.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import aiosmtplib
import uvloop

__all__ = ["main"]


async def _send_part(port: int, content: bytes, numbers: Iterator[int]) -> None:
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False)
    async with client:
        for number in numbers:
            await client.sendmail("hello@clarion.example", [f"user-{number}@example.com"], content)


async def _send(port: int, connections: int, messages: int, content: bytes) -> None:
    numbers = iter(range(messages))  # shared by all connections
    await asyncio.gather(*(_send_part(port, content, numbers) for _ in range(connections)))
    await asyncio.Event().wait()  # the parent reads the CPU time first


def main() -> None:
    """Send all messages, then wait for SIGTERM."""
    port, connections, messages = map(int, sys.argv[1:4])
    uvloop.run(_send(port, connections, messages, Path(sys.argv[4]).read_bytes()))


if __name__ == "__main__":
    main()
