"""The ceiling: a gRPC server that does nothing, behind the same gateway as Clarion's servers.

`python -m lab.bench.ceiling unix:/path` runs one process. It checks no key and no field, has no interceptor
and no database. What remains is the cost of gRPC in Python.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from clarion.v1 import trigger_pb2, trigger_pb2_grpc
from server.up.data_folder import RunDir

from ..process import lab_process
from ..product import Deployment, serve

__all__ = ["ceiling", "main"]

_RESPONSE = trigger_pb2.TriggerCampaignResponse(trigger_id="01890a5d-ac96-774b-bcce-b302099a8057")


@asynccontextmanager
async def ceiling(run: RunDir, *, servers: int, threads: int) -> AsyncIterator[Deployment]:
    """Run empty servers behind a gateway with this number of Envoy threads."""
    sockets = [f"unix:{run.socket(f'empty-{number}.sock')}" for number in range(servers)]
    processes = [
        lab_process(f"empty-{number}", run.log, "bench.ceiling", address, ready="serving")
        for number, address in enumerate(sockets)
    ]
    async with serve(run, processes, sockets, threads=threads) as deployment:
        yield deployment


class _Empty(trigger_pb2_grpc.TriggerServiceServicer):
    async def TriggerCampaign(  # noqa: N802 - gRPC's name
        self, request: trigger_pb2.TriggerCampaignRequest, context: Any
    ) -> trigger_pb2.TriggerCampaignResponse:
        return _RESPONSE


async def _serve(listen: str) -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    trigger_pb2_grpc.add_TriggerServiceServicer_to_server(_Empty(), server)
    checks = health.aio.HealthServicer()  # for the gateway's health checks
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    await checks.set("", health_pb2.HealthCheckResponse.SERVING)
    server.add_insecure_port(listen)
    await server.start()
    print("serving", flush=True)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await ended.wait()
    await server.stop(grace=1)


def main() -> None:
    """Serve on the address in the first argument until SIGTERM."""
    uvloop.run(_serve(sys.argv[1]))


if __name__ == "__main__":
    main()
