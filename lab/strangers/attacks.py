"""Defines attacks without a valid key. Each runs until cancelled and occupies as many resources as it can."""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any

from ..load import BODY, PATH, Connection
from .http2 import Http2, http2
from .keyed import KEYED_ATTACKS

__all__ = ["ATTACKS", "Attack"]

Attack = Callable[[int, Counter[str]], Coroutine[Any, Any, None]]
"""An attack on the gateway at this port, which counts answers by status."""

_TRIGGER = "/clarion.v1.TriggerService/TriggerEmail"
_CHECK = "/grpc.health.v1.Health/Check"
_WATCH = "/grpc.health.v1.Health/Watch"
_REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
_STREAMS = 1000
_EMPTY_MESSAGE = b"\0\0\0\0\0"


def _grpc(path: str, kind: str = "application/grpc") -> Mapping[str, str]:
    unknown = f"Bearer sk_{secrets.token_hex(18)}"
    return {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "127.0.0.1",
        "te": "trailers",
        "content-type": kind,
        "authorization": unknown,
    }


async def calls_without_a_message(port: int, answers: Counter[str]) -> None:
    """Open 40 calls a second and end each without a message, in all ways that reach a server."""
    ways = (
        (_grpc(_TRIGGER), True),
        (_grpc(_TRIGGER), False),
        (_grpc(_CHECK), True),
        (_grpc(_TRIGGER, "application/grpc-web+proto"), True),
    )
    async with http2(port) as connection:
        try:
            while connection.open:
                for headers, empty_end in ways:
                    await connection.request(headers, empty_end=empty_end)
                    await asyncio.sleep(0.025)
        finally:
            answers.update(connection.answers.values())


async def streams_without_an_end(port: int, answers: Counter[str]) -> None:
    """Keep 1,000 health check streams and 1,000 reflection streams open."""
    async with http2(port) as health, http2(port) as reflection:
        try:
            while health.open or reflection.open:
                await _fill(health, _grpc(_WATCH), _EMPTY_MESSAGE)
                await _fill(reflection, _grpc(_REFLECTION), b"")
                await asyncio.sleep(0.1)
        finally:
            answers.update([*health.answers.values(), *reflection.answers.values()])


async def unread_documents(port: int, answers: Counter[str]) -> None:
    """Request a document on 12 connections, 1,000 times each, and read none of it."""
    headers = {":method": "GET", ":scheme": "http", ":path": "/openapi.json", ":authority": "127.0.0.1"}
    await asyncio.gather(*(_never_reading(port, headers, answers) for _ in range(12)))


async def unfinished_bodies(port: int, answers: Counter[str]) -> None:
    """Send 500 requests, on a connection each, whose bodies never end."""
    await asyncio.gather(*(_unfinished(port) for _ in range(500)))


async def unknown_keys(port: int, answers: Counter[str]) -> None:
    """Send as many triggers with unknown keys as 32 connections can."""
    await asyncio.gather(*(_with_unknown_keys(port, answers) for _ in range(32)))


async def _fill(connection: Http2, headers: Mapping[str, str], data: bytes) -> None:
    parts = (data,) if data else ()
    for _ in range(_STREAMS):
        if await connection.request(headers, *parts, end=bool(parts)) is None:
            return


async def _never_reading(port: int, headers: Mapping[str, str], answers: Counter[str]) -> None:
    while True:
        async with http2(port, window=0) as connection:
            while connection.open:
                for _ in range(_STREAMS):
                    if await connection.request(headers) is None:
                        break
                await asyncio.sleep(0.5)
        answers["closed"] += 1


async def _unfinished(port: int) -> None:
    while True:
        with suppress(ConnectionError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            key = f"sk_{secrets.token_hex(18)}"
            request = Connection(port, key).request(PATH, b" " * 60_000)
            writer.write(request[:-1])
            await reader.read()
            writer.close()
        await asyncio.sleep(0.1)


async def _with_unknown_keys(port: int, answers: Counter[str]) -> None:
    while True:
        connection = Connection(port, f"sk_{secrets.token_hex(18)}")
        request = connection.request(PATH, BODY.encode())
        with suppress(ConnectionError):
            for _ in range(100):
                answer = await connection.send(request)
                answers[str(answer.status)] += 1
        connection.close()


ATTACKS: Mapping[str, Attack] = {
    "calls without a message": calls_without_a_message,
    "streams without an end": streams_without_an_end,
    "unread documents": unread_documents,
    "unfinished bodies": unfinished_bodies,
    "unknown keys": unknown_keys,
}


async def _attack(name: str, port: int, key: str) -> None:
    answers: Counter[str] = Counter()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    keyed = KEYED_ATTACKS.get(name)
    running = keyed(port, key, answers) if keyed else ATTACKS[name](port, answers)
    attack = asyncio.create_task(running)
    print("attacking", flush=True)
    waiting = asyncio.create_task(ended.wait())
    await asyncio.wait({attack, waiting}, return_when=asyncio.FIRST_COMPLETED)
    attack.cancel()
    with suppress(asyncio.CancelledError):
        await attack
    print(f"answers: {dict(answers.most_common(8))}", flush=True)


if __name__ == "__main__":
    asyncio.run(_attack(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
