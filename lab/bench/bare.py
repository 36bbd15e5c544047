"""The peer of email delivery: aiosmtplib in a loop.

`python -m lab.bench.bare PORT CONNECTIONS MESSAGES FILE`.

No queue, no template, no record of what was sent: one ready-made message, sent again and again over
connections that are kept.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import aiosmtplib
import uvloop

__all__ = ["main"]


async def _connection(port: int, content: bytes, numbers: Iterator[int]) -> None:
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False)
    async with client:
        for number in numbers:
            await client.sendmail("hello@clarion.example", [f"user-{number}@example.com"], content)


async def _send(port: int, connections: int, messages: int, content: bytes) -> None:
    numbers = iter(range(messages))  # one for all
    await asyncio.gather(*(_connection(port, content, numbers) for _ in range(connections)))
    await asyncio.Event().wait()  # its CPU time is still to be read


def main() -> None:
    """Send, and stay until SIGTERM."""
    port, connections, messages = map(int, sys.argv[1:4])
    uvloop.run(_send(port, connections, messages, Path(sys.argv[4]).read_bytes()))


if __name__ == "__main__":
    main()
