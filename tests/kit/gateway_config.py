"""Parts of the gateway's configuration as data."""

from __future__ import annotations

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
    found: list[dict[str, Any]] = manager(options)["route_config"]["virtual_hosts"][0]["routes"]
    return found
