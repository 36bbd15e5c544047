"""Parts of the gateway's configuration as data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway import GatewaySettings, build
from gateway.config import contract

BATCH = f"/api/client/triggers{contract.COLON}batch"
OPTIONS = GatewaySettings(upstreams=("unix:/run/clarion/server-0.sock", "127.0.0.1:50051"))


def manager(options: GatewaySettings = OPTIONS) -> dict[str, Any]:
    listener = build(options)["static_resources"]["listeners"][0]
    found: dict[str, Any] = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return found


def clusters(options: GatewaySettings = OPTIONS) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in build(options)["static_resources"]["clusters"]}


def cluster(options: GatewaySettings = OPTIONS) -> dict[str, Any]:
    return clusters(options)["server"]


def routes(options: GatewaySettings = OPTIONS) -> list[dict[str, Any]]:
    """Return all routes: those of gRPC first, as in the tree."""
    return list(_routes(manager(options)["route_config"]["virtual_hosts"][0]["matcher"]))


def _routes(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, list):
        for one in part:
            yield from _routes(one)
    elif isinstance(part, dict) and "routes" in part:
        yield from part["routes"]
    elif isinstance(part, dict):
        yield from _routes(list(part.values()))
