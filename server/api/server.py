"""The gRPC server: services, health, reflection, and graceful shutdown."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from clarion.v1 import (
    api_key_pb2,
    api_key_pb2_grpc,
    campaign_pb2,
    campaign_pb2_grpc,
    delivery_pb2,
    delivery_pb2_grpc,
    trigger_pb2,
    trigger_pb2_grpc,
)

from ..domain.key import Scope
from ..domain.limit import RateLimiter
from ..domain.ports import Catalog, ChangeFeed, Records, Writer
from ..errors import ConfigError
from .deliveries import DeliveryServicer
from .guard import MAX_BATCH_BYTES, Guard
from .public import PublicMethods, UnknownMethods
from .reflection import add_reflection
from .resources import ApiKeyServicer, CampaignServicer
from .triggers import TriggerServicer

__all__ = ["OPTIONS", "RpcServer"]

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
OPTIONS = [
    ("grpc.so_reuseport", 0),  # otherwise one of several processes would get all connections
    # Twice what the guard accepts, so that most requests that are too large get the guard's error, which is
    # more helpful than that of gRPC.
    ("grpc.max_receive_message_length", 2 * MAX_BATCH_BYTES),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.max_concurrent_streams", 1000),
    ("grpc.http2.max_ping_strikes", 0),
    # Disable header compression state. All callers share the gateway's connections, and gRPC stores headers
    # that it could not parse in the connection's HPACK table; it would then reject every caller's calls with
    # the same header.
    ("grpc.http2.hpack_table_size.decoder", 0),
]
_SERVICES: Mapping[str, Scope] = {
    trigger_pb2.DESCRIPTOR.services_by_name["TriggerService"].full_name: Scope.TRIGGER,
    delivery_pb2.DESCRIPTOR.services_by_name["DeliveryService"].full_name: Scope.DELIVERIES_READ,
    campaign_pb2.DESCRIPTOR.services_by_name["CampaignService"].full_name: Scope.CAMPAIGNS_READ,
    api_key_pb2.DESCRIPTOR.services_by_name["ApiKeyService"].full_name: Scope.KEYS_MANAGE,
}


class RpcServer:
    """Serves all services on one address."""

    def __init__(
        self,
        catalog: Catalog,
        writer: Writer,
        records: Records,
        feed: ChangeFeed,
        *,
        deadline: float,
        limits: RateLimiter,
        max_concurrent: int,
        reflect: bool,
        note_use: Callable[[uuid.UUID], object],
        guards: Mapping[str, grpc.GenericRpcHandler],
        knows_gateways: bool = False,
    ) -> None:
        """Prepare the server.

        Args:
            catalog: Looks up API keys and campaigns.
            writer: Commits triggers.
            records: Reads and changes everything else.
            feed: The log of changes to triggers.
            deadline: Seconds that a call may take.
            limits: The rate limits of keys and projects.
            max_concurrent: Maximum number of concurrent calls, not counting streams.
            reflect: Whether to serve gRPC reflection.
            note_use: Called with the ID of the key of each call that is accepted.
            guards: Further services by full name, and what guards each.
            knows_gateways: Whether only gateways can connect, whose word about certificates is true.
        """
        guard = Guard(
            catalog,
            _SERVICES,
            deadline=deadline,
            limits=limits,
            max_concurrent=max_concurrent,
            note_use=note_use,
            knows_gateways=knows_gateways,
        )
        self._feed = feed
        self._server = grpc.aio.server(options=OPTIONS)
        public: Any = PublicMethods()  # generated code expects a server, of which it has what is needed
        self._services = (*_SERVICES, *guards)
        self._server.add_generic_rpc_handlers(
            (guard, *dict.fromkeys(guards.values()), public, UnknownMethods())
        )
        self._health = health.aio.HealthServicer()
        self._ending = False
        trigger_pb2_grpc.add_TriggerServiceServicer_to_server(
            TriggerServicer(catalog, writer, records, limits), guard
        )
        delivery_pb2_grpc.add_DeliveryServiceServicer_to_server(DeliveryServicer(records, feed), guard)
        campaign_pb2_grpc.add_CampaignServiceServicer_to_server(CampaignServicer(records), guard)
        api_key_pb2_grpc.add_ApiKeyServiceServicer_to_server(ApiKeyServicer(records, limits), guard)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, public)
        if reflect:
            health_service = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
            add_reflection([*self._services, health_service], public)

    async def start(self, listen: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Listen on `host:port` or `unix:/path`.

        Args:
            listen: The address.
            credentials: The certificate with which to accept TLS; None to accept plain connections.

        Returns:
            The port; a free one if the given port is 0. For a Unix socket, 1.

        Raises:
            ConfigError: The address cannot be bound.
        """
        try:
            if credentials:
                port = self._server.add_secure_port(listen, credentials)
            else:
                port = self._server.add_insecure_port(listen)
        except RuntimeError as error:
            raise ConfigError(f"server.listen: cannot listen on {listen}; is it in use?") from error
        await self._server.start()
        await self._health.set("", _SERVING)
        return port

    async def set_ready(self, ready: bool) -> None:  # noqa: FBT001 - the name says it
        """Set the health status of each service to whether it can serve calls now.

        The status of the server as a whole (the empty service name) does not change: it is SERVING while this
        process accepts calls. The gateway routes by it, so that callers reach a server even during a database
        outage, and get its specific errors.
        """
        for name in self._services:
            await self._health.set(name, _SERVING if ready and not self._ending else _NOT_SERVING)

    async def stop(self, *, lame_duck: float, grace: float) -> None:
        """Shut down without failing calls.

        Report NOT_SERVING, keep serving for the lame duck period, then end streams and wait for other calls.
        Streams end only then, so that clients that reconnect reach another server.

        Args:
            lame_duck: Seconds for the gateway to notice that this server is stopping.
            grace: Seconds after that for calls to finish; calls that take longer are cancelled.
        """
        self._ending = True
        for name in ("", *self._services):
            await self._health.set(name, _NOT_SERVING)
        await asyncio.sleep(lame_duck)
        self._feed.close()
        await self._server.stop(grace)
