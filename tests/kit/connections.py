"""The accept loop of test servers: one coroutine serves each connection, and its faults fail the test."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

__all__ = ["serving"]


@contextlib.asynccontextmanager
async def serving(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    tls: ssl.SSLContext | None = None,
    path: str | None = None,
) -> AsyncIterator[str]:
    """Accept connections for the block, which ends without waiting for them; yield the server's URL.

    `async with` of asyncio's own server waits from Python 3.12 on until every connection has ended.

    Args:
        serve: Serves one connection until either side closes it.
        tls: The server's side of TLS; None for plain text.
        path: Of a Unix socket; None for a free port on the loopback.

    Raises:
        Exception: What `serve` raised, unless the connection was lost or the block has ended.
    """
    tasks: set[asyncio.Task[Any]] = set()
    faults: list[Exception] = []

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        except Exception as error:
            faults.append(error)
        finally:
            writer.close()

    if path:
        listening = await asyncio.start_unix_server(accepted, path)
        url = f"unix:{path}"
    else:
        listening = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=tls)
        port = listening.sockets[0].getsockname()[1]
        url = f"https://localhost:{port}" if tls else f"http://127.0.0.1:{port}"
    try:
        yield url
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if faults:  # these explain a failure of the client
            raise faults[0]
