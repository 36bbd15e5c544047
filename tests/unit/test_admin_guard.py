"""The guard of the admin API: one caller cannot occupy the places of others."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from clarion.admin.v1 import project_pb2 as pb
from server.admin.guard import AdminGuard
from server.admin.services import DESCRIPTORS
from server.domain.operator import Actor, ActorKind, Grant, Role
from tests.kit.until import until

SERVICE = "clarion.admin.v1.ProjectService"


class Aborted(Exception):
    pass


class FakeContext:
    """A call without a deadline, which is aborted by an exception."""

    def time_remaining(self) -> None:
        return None

    async def abort_with_status(self, status: grpc.Status) -> None:
        raise Aborted(status.details)


class FakeCredentials:
    """Accepts every header `authorization`, which is the name of a key."""

    async def actor(self, given: str) -> Actor:
        key_id = uuid.uuid5(uuid.NAMESPACE_URL, given)
        return Actor(ActorKind.ROBOT, "same name", (Grant(Role.VIEWER),), key_id=key_id)


@dataclass
class Details:
    method: str
    invocation_metadata: tuple[tuple[str, str], ...]


async def test_one_caller_cannot_keep_out_another() -> None:
    may_end, serving = asyncio.Event(), 0

    async def serve(request: Any, call: object) -> pb.ListProjectsResponse:
        nonlocal serving
        serving += 1
        await may_end.wait()
        return pb.ListProjectsResponse()

    guard = AdminGuard(DESCRIPTORS, FakeCredentials(), deadline=60)  # type: ignore[arg-type]
    handler: Any = grpc.unary_unary_rpc_method_handler(serve, pb.ListProjectsRequest.FromString)
    guard.add_registered_method_handlers(SERVICE, {"ListProjects": handler})

    async def call(key: str) -> Any:
        details = Details(f"/{SERVICE}/ListProjects", (("authorization", key),))
        return await guard.service(details).unary_unary(b"", FakeContext())  # type: ignore[arg-type]

    hers = [asyncio.create_task(call("hers")) for _ in range(200)]
    done, _ = await asyncio.wait(hers, timeout=60, return_when=asyncio.FIRST_EXCEPTION)
    with pytest.raises(Aborted, match="your calls"):
        done.pop().result()
    his = asyncio.create_task(call("his"))
    await until(lambda: serving == 17, "his call is served, too")
    may_end.set()
    assert await his == pb.ListProjectsResponse()
    results = await asyncio.gather(*hers, return_exceptions=True)
    assert sum(not isinstance(one, Aborted) for one in results) == 16
