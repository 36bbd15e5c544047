"""Replies of the gateway itself match the published reasons, by REST and by gRPC."""

from __future__ import annotations

import base64
import json
import re
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from google.protobuf import json_format
from google.rpc import status_pb2

from clarion.v1 import error_reason_pb2, options_pb2
from gateway import render
from gateway.config import replies
from gateway.config.replies import Reply, too_large
from tests.kit.cases import each_case
from tests.kit.gateway_config import OPTIONS, manager, routes

ANSWER: Any = options_pb2.answer  # its .pyi file predates typed extensions


def test_every_reason_is_one_of_the_published_ones() -> None:
    known = {
        name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name
    }
    used = set(re.findall(r'\\?"reason\\?": ?\\?"([A-Z_]+)\\?"', render(OPTIONS)))
    violations = {
        name.removeprefix("VIOLATION_REASON_")
        for name in error_reason_pb2.ViolationReason.DESCRIPTOR.values_by_name
    }
    assert used
    assert used <= known | violations


def test_direct_responses_have_one_error_info() -> None:
    api = [route for route in routes() if route["match"].get("path_separated_prefix") != "/portal"]
    direct = [route["direct_response"] for route in api if "direct_response" in route]
    bodies = [
        json.loads(one["body"]["inline_string"]) for one in direct if one["status"] >= HTTPStatus.BAD_REQUEST
    ]
    assert len(bodies) > 10
    for body in bodies:
        infos = [d for d in body["details"] if d["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"]
        assert [info["domain"] for info in infos] == ["clarion"]
        assert body["message"]


REPLIES = [reply for reply in vars(replies).values() if isinstance(reply, Reply)]


@each_case(
    "reply",
    [*REPLIES, too_large(OPTIONS.max_body_bytes)],
    ids=lambda reply: f"{reply.status} {reply.message[:20]}",
)
def test_reply_matches_the_options_of_its_reason(reply: Reply) -> None:
    value = error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_number[reply.reason]
    promised = value.GetOptions().Extensions[ANSWER]
    assert reply.status in promised.http_statuses
    assert reply.rich.code == promised.code
    assert json.loads(reply.body)["code"] == promised.code
    assert reply.rich.details[0].type_url.endswith("/google.rpc.ErrorInfo")


@each_case("reply", REPLIES, ids=lambda reply: f"{reply.status} {reply.message[:20]}")
def test_grpc_trailers_equal_the_rest_body(reply: Reply) -> None:
    sent = reply.trailers
    status = status_pb2.Status.FromString(base64.b64decode(sent["grpc-status-details-bin"]))
    assert json_format.MessageToDict(status, preserving_proto_field_name=True) == json.loads(reply.body)
    assert (sent["grpc-status"], unquote(sent["grpc-message"])) == (str(status.code), status.message)
    assert sent["grpc-message"].isascii()


def test_every_local_reply_has_a_grpc_form() -> None:
    mappers = manager()["local_reply_config"]["mappers"]
    for_grpc = [mapper for mapper in mappers if mapper.get("status_code") == HTTPStatus.OK]
    assert len(mappers) == 2 + 2 * len(for_grpc)  # the first two are for REST alone
    for mapper in for_grpc:
        names = {each["header"]["key"] for each in mapper["headers_to_add"]}
        assert names >= {"grpc-status", "grpc-message", "grpc-status-details-bin"}
