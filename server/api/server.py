"""The gRPC server: services, health, reflection, and a graceful end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

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
from .guard import MAX_BATCH_BYTES, Guard, UnknownMethods
from .resources import ApiKeyServicer, CampaignServicer
from .triggers import TriggerServicer

__all__ = ["OPTIONS", "RpcServer"]

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
OPTIONS = [
    ("grpc.so_reuseport", 0),  # otherwise one of several processes would get all connections
    (
        "grpc.max_receive_message_length",
        2 * MAX_BATCH_BYTES,
    ),  # the guard explains why smaller ones are refused
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.max_concurrent_streams", 1000),
    ("grpc.http2.max_ping_strikes", 0),
    # All callers share the gateway's connections. gRPC would keep metadata that it could not parse in this
    # table, and refuse every later call with the same header, whoever makes it.
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
    ) -> None:
        """Prepare the server.

        Args:
            catalog: Keys and campaigns.
            writer: What commits triggers.
            records: Everything that is read or changed outside the hot path.
            feed: The log of changes.
            deadline: Seconds that a call may take.
            limits: The rate limits.
            max_concurrent: How many calls may be served at once.
            reflect: Whether to serve gRPC reflection.
        """
        guard = Guard(catalog, _SERVICES, deadline=deadline, limits=limits, max_concurrent=max_concurrent)
        self._feed = feed
        self._server = grpc.aio.server(options=OPTIONS)
        self._server.add_generic_rpc_handlers((guard,))
        self._health = health.aio.HealthServicer()
        self._ending = False
        trigger_pb2_grpc.add_TriggerServiceServicer_to_server(
            TriggerServicer(catalog, writer, records, limits), guard
        )
        delivery_pb2_grpc.add_DeliveryServiceServicer_to_server(DeliveryServicer(records, feed), guard)
        campaign_pb2_grpc.add_CampaignServiceServicer_to_server(CampaignServicer(records), guard)
        api_key_pb2_grpc.add_ApiKeyServiceServicer_to_server(ApiKeyServicer(records, limits), guard)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if reflect:
            names = [*_SERVICES, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name]
            reflection.enable_server_reflection([*names, reflection.SERVICE_NAME], self._server)
        self._server.add_generic_rpc_handlers((UnknownMethods(),))

    async def start(self, listen: str) -> int:
        """Listen on `host:port` or `unix:/path`.

        Returns:
            The port, which is a free one if the given port is 0. For a socket, 1.

        Raises:
            ConfigError: The address is not available.
        """
        try:
            port = self._server.add_insecure_port(listen)
        except RuntimeError as error:
            raise ConfigError(f"server.listen: cannot listen on {listen}; is it in use?") from error
        await self._server.start()
        await self._health.set("", _SERVING)
        return port

    async def set_ready(self, ready: bool) -> None:  # noqa: FBT001 - the name says it
        """Set the health status of each service: whether calls can be served now.

        The empty name has its own status, which only says that this process accepts calls. The gateway routes
        by that, because a server without a database still gives the best answers.
        """
        for name in _SERVICES:
            await self._health.set(name, _SERVING if ready and not self._ending else _NOT_SERVING)

    async def stop(self, *, lame_duck: float, grace: float) -> None:
        """Stop without failing a call.

        Streams end after the lame duck period, so that clients that reconnect reach another server.

        Args:
            lame_duck: Seconds in which the gateway notices that this server is stopping.
            grace: Seconds in which calls may end after that.
        """
        self._ending = True
        for name in ("", *_SERVICES):
            await self._health.set(name, _NOT_SERVING)
        await asyncio.sleep(lame_duck)
        self._feed.close()
        await self._server.stop(grace)
