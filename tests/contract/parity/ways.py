"""Make a call over every protocol and compare the responses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
from google.api import httpbody_pb2
from google.protobuf.message import Message

from clarion.v1 import trigger_pb2 as pb
from server.api.proto_messages import as_json
from tests.contract.conftest import Keys
from tests.kit.documented_errors import check_call, check_rest

from .cases.case import Case
from .cases.twins import Typed

__all__ = ["Answer", "Ways", "call", "the_same"]

SECONDS = 60.0
TRIGGER = "/clarion.v1.TriggerService/"


@dataclass(frozen=True)
class Answer:
    """What one way answered: the trigger's id or the message, or the refusal as REST shows it."""

    way: str
    reply: Mapping[str, Any] | None = None
    refusal: Mapping[str, Any] | None = None

    @property
    def trigger_id(self) -> str:
        """The id of an accepted trigger."""
        assert self.reply is not None, f"{self.way}: {self.refusal}"
        return str(self.reply["trigger_id"])


@dataclass(frozen=True)
class Ways:
    """All ways in."""

    http: httpx.AsyncClient
    http2: httpx.AsyncClient
    channels: Mapping[str, grpc.aio.Channel]
    secrets: Keys

    async def trigger(self, case: Case) -> list[Answer]:
        """Make a case's call by every way at once."""
        by_rest = [self._rest(client, case) for client in (self.http, self.http2)]
        message = _as_grpc(case)
        as_it_came = [self._grpc(way, "TriggerCampaign", message, case) for way in self.channels]
        return list(await asyncio.gather(*by_rest, *as_it_came, *self._twins(case)))

    async def trigger_typed(self, case: Case) -> list[Answer]:
        """Make a case's typed call through the gateway and straight to the server."""
        return list(await asyncio.gather(*self._twins(case)))

    def authorization(self, case: Case) -> str | None:
        """Return the case's header with the secrets that it names."""
        text = case.authorization
        return None if text is None else text.format(**vars(self.secrets))

    def _twins(self, case: Case) -> list[Awaitable[Answer]]:
        if case.twin is None:
            return []
        return [self._grpc(way, _method_of(case.twin), case.twin, case) for way in self.channels]

    async def _rest(self, client: httpx.AsyncClient, case: Case) -> Answer:
        key = self.authorization(case)
        headers = {"content-type": "application/json", **({"authorization": key} if key is not None else {})}
        answer = await client.post(case.path, content=case.content, headers=headers)
        way = answer.http_version
        if answer.status_code != 204:
            return Answer(way, refusal=check_rest(answer))
        assert answer.content == b""
        assert "content-type" not in answer.headers
        assert not [name for name in answer.headers if name.startswith(("grpc", "x-envoy"))]
        return Answer(way, reply={"trigger_id": answer.headers["x-trigger-id"]})

    async def _grpc(self, way: str, method: str, message: Message, case: Case) -> Answer:
        reply = getattr(pb, f"{method}Response")
        made = await call(self.channels[way], TRIGGER + method, message, reply, self.authorization(case))
        name = f"{method} at the {way}"
        return Answer(name, **made)


async def call(
    channel: grpc.aio.Channel, path: str, message: Message, reply: type[Message], key: str | None
) -> dict[str, Mapping[str, Any]]:
    """Make a gRPC call; return its `reply`, or its `refusal`, which is held against the documentation."""
    method: Any = channel.unary_unary(
        path, request_serializer=type(message).SerializeToString, response_deserializer=reply.FromString
    )
    metadata = () if key is None else (("authorization", key),)
    try:
        made = await method(message, metadata=metadata, timeout=SECONDS)
    except grpc.aio.AioRpcError as error:
        return {"refusal": check_call(error)}
    return {"reply": json.loads(as_json(made))}


def the_same(answers: list[Answer]) -> Answer:
    """Check that all ways refused alike, or all accepted; return one of the answers."""
    first, *others = answers
    for other in others:
        assert other.refusal == first.refusal, f"{other.way}: {_shown(other)}\n{first.way}: {_shown(first)}"
    return first


def _as_grpc(case: Case) -> pb.TriggerCampaignRequest:
    """Return what the gateway makes of the REST call."""
    body = httpbody_pb2.HttpBody(data=case.content, content_type="application/json")
    return pb.TriggerCampaignRequest(campaign_id=str(case.campaign), body=body)


def _method_of(request: Typed) -> str:
    return type(request).__name__.removesuffix("Request")


def _shown(answer: Answer) -> str:
    return json.dumps(answer.refusal or answer.reply, ensure_ascii=False)
