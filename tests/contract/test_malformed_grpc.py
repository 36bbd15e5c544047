"""Malformed gRPC calls: a permanent error in our words, and no traceback or foreign line in the log."""

from __future__ import annotations

from collections.abc import Mapping

import grpc

from lab.strangers.http2 import http2
from tests.kit.cases import each_case
from tests.kit.stack import Stack
from tests.kit.until import until

TRIGGER = "/clarion.v1.TriggerService/TriggerEmail"
HEALTH = "/grpc.health.v1.Health/"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
EMPTY = b"\0\0\0\0\0"
GARBAGE = b"\0\0\0\0\x03\xff\xff\xff"
NOT_UTF8 = "\udce9"
INVALID, UNIMPLEMENTED = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED


def call(path: str, kind: str = "application/grpc", **more: str) -> Mapping[str, str]:
    named = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "a", "te": "trailers"}
    return {**named, "content-type": kind, **more}


CASES: Mapping[str, tuple[Mapping[str, str], bytes, grpc.StatusCode]] = {
    "message that cannot be decoded": (call(TRIGGER), GARBAGE, INVALID),
    "the same in a health check": (call(f"{HEALTH}Check"), GARBAGE, INVALID),
    "the same in a health watch": (call(f"{HEALTH}Watch"), GARBAGE, INVALID),
    "the same by reflection": (call(REFLECTION), GARBAGE, INVALID),
    "the same by its v1": (call(REFLECTION.replace("v1alpha", "v1")), GARBAGE, INVALID),
    "the same by gRPC-Web": (call(TRIGGER, "application/grpc-web+proto"), GARBAGE, INVALID),
    "compressed without an encoding": (call(TRIGGER), b"\1\0\0\0\0", INVALID),
    "method that the library lacks": (call(f"{HEALTH}List"), EMPTY, UNIMPLEMENTED),
    "unknown method": (call("/a/b"), EMPTY, UNIMPLEMENTED),
    "GET": (call(TRIGGER, **{":method": "GET"}), b"", UNIMPLEMENTED),
    "PUT": (call(TRIGGER, **{":method": "PUT"}), EMPTY, UNIMPLEMENTED),
    "GET by gRPC-Web": (call(TRIGGER, "application/grpc-web", **{":method": "GET"}), b"", UNIMPLEMENTED),
}


@each_case(("headers", "data", "code"), CASES.values(), ids=CASES.keys())
async def test_malformed_call(
    stack: Stack, headers: Mapping[str, str], data: bytes, code: grpc.StatusCode
) -> None:
    authorized = {**headers, "authorization": f"Bearer {stack.key}"}
    async with http2(stack.port) as caller:
        stream = await caller.request(authorized, *filter(None, (data,)))
        assert stream
        await until(lambda: stream in caller.ended, "the call is answered")
    found = caller.trailers[stream]
    assert int(found["grpc-status"]) == code.value[0], found
    assert found["grpc-message"]
    assert "google.protobuf" not in found["grpc-message"]
    assert "class" not in found["grpc-message"]


async def test_call_without_te_is_served(stack: Stack) -> None:
    headers = {name: value for name, value in call(TRIGGER).items() if name != "te"}
    async with http2(stack.port) as caller:
        stream = await caller.request({**headers, "authorization": f"Bearer {stack.key}"}, EMPTY)
        assert stream
        await until(lambda: stream in caller.ended, "the call is answered")
    assert "campaign_id: is required" in caller.trailers[stream]["grpc-message"]


async def test_malformed_calls_log_nothing(stack: Stack) -> None:
    """Not even the core of gRPC, which would write unstructured lines for some of them."""
    before = len(stack.log("server-0"))
    sent: set[int | None] = set()
    async with http2(stack.port) as caller:
        for path in (f"{HEALTH}Check", REFLECTION, f"{HEALTH}List", TRIGGER):
            for more in ({}, {"grpc-encoding": "unheard-of"}, {"x-bin": "!!!!"}, {"x-name": NOT_UTF8}):
                sent.add(await caller.request({**call(path), **more}, GARBAGE))
        await until(lambda: sent == caller.ended, "all calls are answered")
    logged = stack.log("server-0")[before:]
    assert "Traceback" not in logged
    assert "parsing" not in logged, logged
