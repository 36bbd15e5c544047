"""The client side of a server's gRPC health check."""

from __future__ import annotations

from typing import Any

__all__ = ["wait_serving"]

# By default gRPC reconnects after 1 s, then 1.6 s, which would delay every start.
_RECONNECT = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 100)]


async def wait_serving(target: str, timeout: float) -> None:  # noqa: ASYNC109 - gRPC enforces it
    """Wait until a server answers its health check.

    Args:
        target: `host:port` or `unix:/path`.
        timeout: seconds.

    Raises:
        grpc.aio.AioRpcError: it did not answer in time.
    """
    import grpc  # noqa: PLC0415 - slow to import; see server/cli.py
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415

    async with grpc.aio.insecure_channel(target, options=_RECONNECT) as channel:
        request = health_pb2.HealthCheckRequest()
        stub: Any = health_pb2_grpc.HealthStub(channel)  # its type stubs declare no methods
        await stub.Check(request, timeout=timeout, wait_for_ready=True)
