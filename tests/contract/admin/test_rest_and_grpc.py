"""Every method of the admin API, over REST and gRPC: the same request gets the same answer.

The requests are derived from the descriptors and their examples, so that a new method is covered.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import grpc
import httpx
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from generate.admin_examples import Examples
from generate.admin_openapi import role_of
from generate.described import ADMIN, Binding, bindings, load
from generate.rules import rules_of
from server.api.proto_messages import as_json
from tests.contract.admin.conftest import Operator
from tests.kit.cases import each_case
from tests.kit.documented_errors import check_call, check_rest, reason_of
from tests.kit.documented_schemas import ADMIN_API
from tests.kit.enum_names import enum_names, with_names
from tests.kit.stack import Stack

DESCRIBED = load(ADMIN)
EXAMPLES = Examples(DESCRIBED)
CALLS = {
    f"{one.service.name}_{one.method.name}": one
    for one in bindings(DESCRIBED)
    if not one.method.server_streaming  # test_live_deliveries.py and the like follow those
}
READS = {name: one for name, one in CALLS.items() if role_of(one.method) == "viewer" and not one.variables}
NEED_A_FIELD = {
    name: one
    for name, one in CALLS.items()
    if any(
        rules_of(field).required and field.name not in one.variables for field in one.method.input_type.fields
    )
}
CHANGES = {name: one for name, one in CALLS.items() if role_of(one.method) in {"operator", "author", "admin"}}
NOWHERE = {"uuid": "00000000-0000-4000-8000-000000000000", "": "999999999"}
"""IDs of nothing, by format."""
NAMES = enum_names(DESCRIBED.files)
"""The names of enum values by field and word."""
SECONDS = 60.0


@dataclass
class Both:
    """Makes calls by REST and by gRPC."""

    http: httpx.AsyncClient
    channel: grpc.aio.Channel

    async def call(self, binding: Binding, request: Mapping[str, Any], secret: str) -> tuple[Any, Any]:
        """Return the answers of REST and of gRPC to a request, which is given as JSON."""
        return await self.by_rest(binding, request, secret), await self.by_grpc(binding, request, secret)

    async def by_rest(self, binding: Binding, request: Mapping[str, Any], secret: str) -> Any:
        path = binding.path
        for name in binding.variables:
            path = path.replace(f"{{{name}}}", quote(str(request[name]), safe=""))
        rest = {name: value for name, value in request.items() if name not in binding.variables}
        headers = {"authorization": f"Bearer {secret}"} if secret else {}
        sent: dict[str, Any] = (
            {"json": rest} if binding.body else {"params": {k: _text(v) for k, v in rest.items()}}
        )
        answer = await self.http.request(binding.verb.upper(), path, headers=headers, **sent)
        return answer.json() if answer.is_success else check_rest(answer)

    async def by_grpc(self, binding: Binding, request: Mapping[str, Any], secret: str) -> Any:
        method = binding.method
        message: Message = GetMessageClass(method.input_type)()
        json_format.ParseDict(with_names(dict(request), NAMES), message)
        invoke: Any = self.channel.unary_unary(
            f"/{binding.service.full_name}/{method.name}",
            request_serializer=type(message).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        metadata = (("authorization", f"Bearer {secret}"),) if secret else ()
        try:
            return json.loads(as_json(await invoke(message, metadata=metadata, timeout=SECONDS)))
        except grpc.aio.AioRpcError as error:
            return check_call(error)


@pytest.fixture
async def both(stack: Stack, admin: Operator) -> AsyncIterator[Both]:
    async with grpc.aio.insecure_channel(stack.target) as channel:
        yield Both(admin.http, channel)


def of_nothing(binding: Binding, *, whole: bool = True) -> dict[str, Any]:
    """Return a request about a resource that does not exist, if `whole` with all else from the example."""
    fields = binding.method.input_type.fields_by_name
    named = {
        name: NOWHERE["uuid" if rules_of(fields[name]).keywords.get("format") == "uuid" else ""]
        for name in binding.variables
    }
    return {**(EXAMPLES.request(binding.method.input_type) if whole else {}), **named}


@each_case("name", CALLS)
async def test_calls_without_an_admin_key_are_rejected_alike(both: Both, stack: Stack, name: str) -> None:
    for secret, reason in (("", "CREDENTIALS_MISSING"), (stack.key, "CREDENTIALS_INVALID")):
        rest, rpc = await both.call(CALLS[name], of_nothing(CALLS[name]), secret)
        assert rest == rpc
        assert reason_of(rest) == reason


@each_case("name", CHANGES)
async def test_viewer_can_change_nothing_by_either(both: Both, viewer: Operator, name: str) -> None:
    rest, rpc = await both.call(CHANGES[name], of_nothing(CHANGES[name]), viewer.secret)
    assert rest == rpc
    assert reason_of(rest) == "ROLE_MISSING"


@each_case("name", NEED_A_FIELD)
async def test_missing_fields_are_named_alike(both: Both, admin: Operator, name: str) -> None:
    rest, rpc = await both.call(NEED_A_FIELD[name], of_nothing(NEED_A_FIELD[name], whole=False), admin.secret)
    assert rest == rpc
    assert reason_of(rest) == "INVALID_REQUEST"


@each_case("name", {name: one for name, one in CALLS.items() if one.variables})
async def test_unknown_resource_is_not_found_by_either(both: Both, admin: Operator, name: str) -> None:
    rest, rpc = await both.call(CALLS[name], of_nothing(CALLS[name]), admin.secret)
    assert rest == rpc
    assert reason_of(rest).endswith("_NOT_FOUND"), rest


@each_case("name", READS)
async def test_reads_answer_alike(both: Both, admin: Operator, name: str) -> None:
    """Filters are those of the examples, which match little, so that the answers do not change meanwhile."""
    example = EXAMPLES.request(READS[name].method.input_type)
    rest, rpc = await both.call(READS[name], example, admin.secret)
    assert rest.keys() == rpc.keys()
    assert ("code" in rest) == ("code" in rpc)
    schema = ADMIN_API.operations[name]["responses"]["200"]["content"]["application/json"]["schema"]
    if "code" in rest:
        assert rest == rpc
    else:
        for answer in (rest, rpc):
            ADMIN_API.validator(schema).validate(answer)


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return value
