"""The OpenAPI document: complete, and consistent with the protos, the gateway and the server."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format
from google.rpc import error_details_pb2, status_pb2

from buf.validate import validate_pb2
from clarion.v1 import api_key_pb2, campaign_pb2, delivery_pb2, error_reason_pb2, options_pb2, trigger_pb2
from gateway import GatewaySettings
from gateway.config import contract
from generate import examples, openapi
from generate.described import load
from generate.reasons import problems, reasons, reasons_in
from generate.rules import rules_of
from server.api import server as rpc_service
from server.api.page_tokens import position_of
from server.api.proto_messages import as_json
from server.intake import strict_json
from tests.contract.parity.cases import ACCEPTED, REFUSED
from tests.contract.parity.cases.case import Case
from tests.kit.cases import each_case
from tests.kit.documented_bodies import EMAIL, PUSH, TEXT
from tests.kit.documented_schemas import CLIENT_API, DOCUMENT, validator
from tests.kit.enum_names import enum_names, with_names

OPERATIONS, resolve = CLIENT_API.operations, CLIENT_API.resolve
CALLS = {name: one for name, one in OPERATIONS.items() if one["security"]}
TRIGGER = DOCUMENT["paths"]["/api/client/campaigns/{campaign_id}/trigger"]["post"]
# Their .pyi files predate typed extensions.
ANSWER: Any = options_pb2.answer
FIELD: Any = validate_pb2.field
FILES = (api_key_pb2, campaign_pb2, delivery_pb2, trigger_pb2)
# Violations that a schema can detect. The others need a server: time zones, phone numbers, the campaign.
SEEN = {"REQUIRED", "WRONG_TYPE", "UNKNOWN_FIELD"}


BODY = validator(TRIGGER["requestBody"]["content"]["application/json"]["schema"])


def test_example_cursor_is_valid() -> None:
    assert position_of(examples.CURSOR)


def test_scopes_match_the_server() -> None:
    needed = {name.rpartition(".")[2]: str(scope) for name, scope in rpc_service._SERVICES.items()}
    for operation in CALLS.values():
        assert operation["security"] == [{"api_key": []}]
        assert operation["x-scope"] == needed[operation["tags"][0]]
    assert {operation["tags"][0] for operation in CALLS.values()} == set(needed)


def test_paths_match_the_gateway() -> None:
    routes = {
        (path.regex, method) for path in contract.load().paths if not path.is_admin for method in path.methods
    }
    ours = {(contract.path_regex(one["path"]), one["verb"].upper()) for one in CALLS.values()}
    assert ours == routes
    open_to_all = {one["path"] for name, one in OPERATIONS.items() if name not in CALLS}
    assert open_to_all == {
        *("/healthz", "/readyz", "/openapi.json", "/docs", "/openapi/admin.json", "/docs/admin"),
    }


def test_limits_match_the_gateway() -> None:
    options = GatewaySettings(upstreams=("127.0.0.1:1",))
    about = DOCUMENT["info"]["description"]
    assert f"Bodies may have up to {options.max_body_bytes // 1024} KiB" in about
    assert f"those of batches {options.max_batch_bytes // 1024**2} MiB" in about
    assert f"up to {options.max_header_count} headers totalling {options.max_header_kib} KiB" in about
    assert f"longer than {options.request_timeout:g} seconds" in about


def test_each_status_of_each_reason_is_documented() -> None:
    documented = {
        (int(status), reason)
        for operation in OPERATIONS.values()
        for status, answer in operation["responses"].items()
        for reason in resolve(answer).get("content", {}).get("application/json", {}).get("examples", {})
    }
    for example in DOCUMENT["components"]["schemas"]["Status"]["examples"]:  # unknown paths and methods
        [info] = example["details"]
        documented |= {({5: 404, 12: 405}[example["code"]], info["reason"])}
    promised = {(status, one.name) for one in reasons_in(load()).values() for status in one.statuses}
    assert documented == promised


@pytest.mark.parametrize(
    ("status", "header"),
    [(401, "www-authenticate"), (429, "retry-after"), (429, "RateLimit-Policy"), (503, "retry-after")],
)
def test_error_responses_have_their_headers(status: int, header: str) -> None:
    for operation in CALLS.values():
        assert header in resolve(operation["responses"][str(status)])["headers"]


def test_reasons_are_documented_where_they_can_occur() -> None:
    def met(name: str, status: int) -> list[str]:
        answer = resolve(OPERATIONS[name]["responses"].get(str(status), {}))
        return list(answer.get("content", {}).get("application/json", {}).get("examples", {}))

    trigger, delivery = "TriggerService_TriggerCampaign", "DeliveryService_GetDelivery"
    assert met(trigger, 404) == ["CAMPAIGN_NOT_FOUND"]
    assert met(delivery, 404) == ["DELIVERY_NOT_FOUND"]
    assert met("ApiKeyService_RevokeApiKey", 404) == ["KEY_NOT_FOUND"]
    assert met("CampaignService_ListCampaigns", 404) == []
    assert met(trigger, 413) == ["BODY_TOO_LARGE"]
    assert met(delivery, 413) == []
    assert met("Readyz", 503) == ["NOT_READY"]


def test_trigger_returns_204_with_an_id() -> None:
    answer = TRIGGER["responses"]["204"]
    assert "content" not in answer
    assert answer["headers"]["x-trigger-id"]["schema"] == {"type": "string", "format": "uuid"}


@pytest.mark.parametrize("name", examples.RESPONSES)
def test_example_response_is_the_json_of_its_message(name: str) -> None:
    [message] = [getattr(file, name) for file in FILES if hasattr(file, name)]
    parsed = json_format.ParseDict(with_names(examples.RESPONSES[name], NAMES), message())
    assert json.loads(as_json(parsed)) == examples.RESPONSES[name]


NAMES = enum_names(file.DESCRIPTOR for file in FILES)
"""The names of enum values by field and word."""


@each_case("name", DOCUMENT["components"]["examples"])
def test_example_error_is_the_json_of_a_status(name: str) -> None:
    value = DOCUMENT["components"]["examples"][name]["value"]
    status = json_format.ParseDict(
        value, status_pb2.Status(), descriptor_pool=error_details_pb2.DESCRIPTOR.pool
    )
    answer = error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name[f"ERROR_REASON_{name}"].GetOptions()
    assert status.code == answer.Extensions[ANSWER].code


@pytest.mark.parametrize("text", [EMAIL, TEXT, PUSH], ids=["email", "text", "push"])
def test_documented_bodies_are_the_examples(text: str) -> None:
    body = json.loads(strict_json.without_trailing_commas(text))
    BODY.validate(body)
    assert body in examples.BODIES.values()


def parsed(case: Case) -> Any:
    """Return a case's body, or `...` if it is not JSON."""
    try:
        text = strict_json.without_trailing_commas(case.content.decode())
        return strict_json.decode(text, depth=100)
    except ValueError:
        return ...


def without_nulls(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object without its null members, which are accepted but not documented."""
    return {name: one for name, one in value.items() if one is not None}


def is_seen(case: Case) -> bool:
    """Return whether a schema can detect that a case's body is invalid."""
    return parsed(case) is not ... and any(
        reason in SEEN and field != "campaign_id" for field, reason in case.fields
    )


VALID = [case for case in ACCEPTED if parsed(case) is not ...]
MALFORMED = [case for case in REFUSED if is_seen(case)]


def test_there_are_enough_cases() -> None:
    assert len(VALID) > 20
    assert len(MALFORMED) > 50


@each_case("case", VALID, ids=lambda case: case.name)
def test_accepted_body_is_valid(case: Case) -> None:
    body = without_nulls(parsed(case))
    BODY.validate({**body, "user": without_nulls(body["user"])})


@each_case("case", MALFORMED, ids=lambda case: case.name)
def test_malformed_body_is_invalid(case: Case) -> None:
    assert not BODY.is_valid(parsed(case))


@pytest.mark.parametrize(
    "changes",
    [
        {"external_id": "x" * 256},
        {"external_id": "a\nb"},
        {"email": "x" * 255},
        {"email": "no-address"},
        {"locale": "e!"},
        {"timezone": "x" * 65},
        {"email": ..., "phone": "0123"},
        {"email": ..., "device_token": "a device token"},
    ],
    ids=str,
)
def test_member_that_breaks_a_rule_is_invalid(changes: dict[str, Any]) -> None:
    user = {**examples.BODIES["email"]["user"], **changes}
    assert not BODY.is_valid({"user": {name: one for name, one in user.items() if one is not ...}})


def test_addresses_of_other_channels_are_ignored() -> None:
    user = examples.BODIES["email"]["user"]
    BODY.validate({"user": {**user, "phone": "none", "device_token": ""}})


def test_unknown_rule_stops_the_build() -> None:
    file = descriptor_pb2.FileDescriptorProto(
        name="clarion_tests/rules.proto", syntax="proto3", dependency=["buf/validate/validate.proto"]
    )
    field = file.message_type.add(name="Ruled").field.add(name="text", number=1, label=1, type=9)
    field.options.Extensions[FIELD].string.prefix = "sk_"
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    ruled = pool.FindMessageTypeByName("Ruled").fields_by_name["text"]
    with pytest.raises(NotImplementedError, match=r"Ruled\.text: the rule prefix is missing"):
        rules_of(ruled)


@pytest.mark.parametrize("part", ["code", "retry", "met_by", "example"])
def test_incomplete_error_reason_is_reported(part: str) -> None:
    reason = reasons(load())["CAMPAIGN_PAUSED"]
    answer = copy.deepcopy(reason.answer)
    answer.ClearField(part)
    assert problems(reason, {"TriggerCampaign"}) == []
    assert problems(dataclasses.replace(reason, answer=answer), {"TriggerCampaign"}) == [f"needs {part}"]
    assert problems(reason, {"CancelTrigger"}) == ["met_by names the unknown method TriggerCampaign"]


def test_error_reason_without_advice_stops_the_build() -> None:
    described = load()
    comments = {**described.comments, "clarion.v1.ErrorReason.ERROR_REASON_CAMPAIGN_PAUSED": "It is paused."}
    with pytest.raises(LookupError, match=r"CAMPAIGN_PAUSED.*states what to do"):
        reasons(type(described)(described.files, comments))


def test_service_without_a_scope_stops_the_build() -> None:
    described = load()
    silent = {**described.comments, "clarion.v1.TriggerService": "TriggerService takes triggers."}
    with pytest.raises(LookupError, match="TriggerService"):
        openapi.build(type(described)(described.files, silent), "1")
