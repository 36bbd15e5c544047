"""gRPC reflection, by both of its names: tools try v1 first."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2 as pb

from server.api.reflection import V1, V1ALPHA


async def answer(
    channel: grpc.aio.Channel, service: str, request: pb.ServerReflectionRequest
) -> pb.ServerReflectionResponse:
    method = channel.stream_stream(
        f"/{service}/ServerReflectionInfo",
        request_serializer=pb.ServerReflectionRequest.SerializeToString,
        response_deserializer=pb.ServerReflectionResponse.FromString,
    )
    call = method(iter([request]), timeout=30)
    [found] = [one async for one in call]
    assert isinstance(found, pb.ServerReflectionResponse)
    return found


@pytest.mark.parametrize("way", ["gateway", "server"])
@pytest.mark.parametrize("service", ["grpc.reflection.v1.ServerReflection", V1ALPHA])
async def test_every_listed_service_is_described(
    way: str, service: str, channels: dict[str, grpc.aio.Channel]
) -> None:
    """As `grpcurl describe` does, which resolves all services that the server lists."""
    listed = await answer(channels[way], service, pb.ServerReflectionRequest(list_services=""))
    names = {one.name for one in listed.list_services_response.service}
    assert {V1, V1ALPHA, "clarion.v1.TriggerService", "grpc.health.v1.Health"} <= names
    for name in names:
        request = pb.ServerReflectionRequest(file_containing_symbol=name)
        found = await answer(channels[way], service, request)
        pool = descriptor_pool.DescriptorPool()
        texts = found.file_descriptor_response.file_descriptor_proto
        files = map(descriptor_pb2.FileDescriptorProto.FromString, texts)
        by_name = {file.name: file for file in files}
        add(pool, by_name, next(iter(by_name)))
        assert pool.FindServiceByName(name).methods


def add(
    pool: descriptor_pool.DescriptorPool, files: dict[str, descriptor_pb2.FileDescriptorProto], name: str
) -> None:
    """Add a file to a pool after the files that it imports."""
    for dependency in files[name].dependency:
        add(pool, files, dependency)
    pool.Add(files[name])
