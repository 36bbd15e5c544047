"""Page tokens with made-up sort keys: anyone can compute the digest that a token contains."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import grpc
import msgspec
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

import clarion.admin.v1
from server.admin.client import LocalAdmin
from server.admin.paging import page_token
from tests.kit.admin import create_admin_key
from tests.kit.stack import Stack

KEYS = (
    '{"a":1}',
    "true",
    "-1",
    "1.5",
    "99999999999999999999",
    '"a\\u0000b"',
    "[]",
    '["x","y"]',
    "[" * 400 + "]" * 400,
    '["2026-01-01T00:00:00","00000000-0000-0000-0000-000000000000"]',
    '["9999-12-31T23:59:59.999999-23:59","00000000-0000-0000-0000-000000000000"]',
    '["2026-01-01T00:00:00+00:00",99999999999999999999]',
    '["2026-01-01T00:00:00+00:00",1,"email","a\\u0000b"]',
    "[99999999999999999999,1]",
)
SAMPLES = {"project": "demo", "campaign_id": "44"}


def lists() -> Iterator[MethodDescriptor]:
    """Yield the methods of the admin API that return pages."""
    for module in pkgutil.iter_modules(clarion.admin.v1.__path__):
        if module.name.endswith("_pb2"):
            found: Any = importlib.import_module(f"{clarion.admin.v1.__name__}.{module.name}")
            for service in found.DESCRIPTOR.services_by_name.values():
                yield from (one for one in service.methods if "page_token" in one.input_type.fields_by_name)


def request_of(method: MethodDescriptor, key: str) -> Message:
    """Return a request for the page after a made-up row."""
    fields = method.input_type.fields_by_name
    request: Any = GetMessageClass(method.input_type)(
        **{name: value for name, value in SAMPLES.items() if name in fields}
    )
    request.page_token = page_token(request, msgspec.Raw(key.encode()))
    return request  # type: ignore[no-any-return]


@pytest.mark.parametrize("method", [pytest.param(one, id=one.name) for one in lists()])
async def test_made_up_tokens_are_rejected(stack: Stack, local: LocalAdmin, method: MethodDescriptor) -> None:
    metadata = (("authorization", f"Bearer {await create_admin_key(local, 'admin')}"),)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{stack.port}") as channel:
        call: Any = channel.unary_unary(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        for key in KEYS:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call(request_of(method, key), metadata=metadata)
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT, key
            assert "page_token" in str(raised.value.details())
