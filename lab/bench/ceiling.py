"""The ceiling: a gRPC server that does nothing.

`python -m lab.bench.ceiling unix:/path` runs one process of it.

No key, no check, no interceptor, no database: what is left is what gRPC in Python costs.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any

import grpc
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from clarion.v1 import trigger_pb2, trigger_pb2_grpc

__all__ = ["main"]

_ANSWER = trigger_pb2.TriggerCampaignResponse(trigger_id="01890a5d-ac96-774b-bcce-b302099a8057")


class _Empty(trigger_pb2_grpc.TriggerServiceServicer):
    async def TriggerCampaign(  # noqa: N802 - gRPC's name
        self, request: trigger_pb2.TriggerCampaignRequest, context: Any
    ) -> trigger_pb2.TriggerCampaignResponse:
        return _ANSWER


async def _serve(listen: str) -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    trigger_pb2_grpc.add_TriggerServiceServicer_to_server(_Empty(), server)
    checks = health.aio.HealthServicer()  # the gateway asks for it
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    await checks.set("", health_pb2.HealthCheckResponse.SERVING)
    server.add_insecure_port(listen)
    await server.start()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await ended.wait()
    await server.stop(grace=1)


def main() -> None:
    """Serve on the address given as the only argument, until SIGTERM."""
    uvloop.run(_serve(sys.argv[1]))


if __name__ == "__main__":
    main()
