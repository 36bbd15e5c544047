"""The gateway: its settings, and whether the servers behind it are ready."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateway import HALF_THE_CORES, GatewayOptions

from ..config import Settings

__all__ = ["gateway_options", "server_ready"]

# By itself gRPC tries again only after 1 s, then 1.6 s: a server that starts would wait for us.
_SOON_AGAIN = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 100)]


def gateway_options(
    settings: Settings, *, admin_socket: Path | None = None, spare: str = ""
) -> GatewayOptions:
    """Return the gateway's options; its own checks name what is out of range."""
    return GatewayOptions(
        listen_host=settings.gateway.host,
        listen_port=settings.gateway.port,
        upstreams=settings.gateway.upstreams,
        admin_socket=admin_socket,
        max_body_bytes=settings.gateway.max_body_bytes,
        max_batch_bytes=settings.gateway.max_batch_bytes,
        max_heap_bytes=settings.gateway.max_heap_bytes,
        max_concurrent_per_server=settings.gateway.max_concurrent_per_server,
        latency_target=settings.gateway.latency_target,
        max_connections=settings.gateway.max_connections,
        concurrency=settings.gateway.threads or HALF_THE_CORES,
        request_timeout=settings.gateway.request_timeout,
        access_log=settings.gateway.access_log,
        tls_certificate=_file(settings.gateway.tls_certificate),
        tls_key=_file(settings.gateway.tls_key),
        spare=spare,
    )


def _file(name: str) -> Path | None:
    return Path(name).expanduser() if name else None


async def server_ready(target: str, timeout: float) -> None:  # noqa: ASYNC109 - grpc's own waiting
    """Return when the server at `host:port` or `unix:/path` says that it serves.

    Raises:
        grpc.aio.AioRpcError: it does not within `timeout` seconds.
    """
    import grpc  # noqa: PLC0415 - see above
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415

    async with grpc.aio.insecure_channel(target, options=_SOON_AGAIN) as channel:
        request = health_pb2.HealthCheckRequest()
        stub: Any = health_pb2_grpc.HealthStub(channel)  # its type stubs know no methods
        await stub.Check(request, timeout=timeout, wait_for_ready=True)
