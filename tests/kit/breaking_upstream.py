"""A server in perfect health that breaks off in the middle of every call, or never answers one."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import h2.config
import h2.connection
import h2.events
from grpc_health.v1 import health_pb2

from tests.kit.connections import serving

__all__ = ["running"]

SERVING = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING).SerializeToString()
ANSWER = [(":status", "200"), ("content-type", "application/grpc")]


@asynccontextmanager
async def running(path: str, last_words: bytes | None) -> AsyncIterator[None]:
    """Run the server on a Unix socket.

    `last_words` are what a call gets before its connection ends; with None it waits without a word.
    """
    async with serving(partial(_serve, last_words), path=path):
        yield


async def _serve(
    last_words: bytes | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    checks: set[int | None] = set()
    machine = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    machine.initiate_connection()
    writer.write(machine.data_to_send())
    try:
        while data := await reader.read(65536):
            for event in machine.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    if _is_health_check(event):
                        checks.add(event.stream_id)
                    elif last_words is not None:
                        writer.write(last_words)
                        return
                if isinstance(event, h2.events.StreamEnded) and event.stream_id in checks:
                    _say_serving(machine, event.stream_id or 0)
            writer.write(machine.data_to_send())
    finally:
        writer.close()


def _is_health_check(event: h2.events.RequestReceived) -> bool:
    return b"/grpc.health.v1.Health/Check" in dict(event.headers or []).values()


def _say_serving(machine: h2.connection.H2Connection, stream: int) -> None:
    machine.send_headers(stream, ANSWER)
    machine.send_data(stream, struct.pack(">BI", 0, len(SERVING)) + SERVING)
    machine.send_headers(stream, [("grpc-status", "0")], end_stream=True)
