"""The OpenAPI document: complete, in step with protos and gateway, and true of what the server takes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format
from google.rpc import error_details_pb2, status_pb2
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.protocols import Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from buf.validate import validate_pb2
from clarion.v1 import api_key_pb2, campaign_pb2, delivery_pb2, error_reason_pb2, options_pb2, trigger_pb2
from gateway import GatewaySettings
from gateway.config import contract
from generate import examples, openapi
from generate.described import load
from generate.documents import documents
from generate.reasons import reasons
from generate.rules import rules_of
from server.api import server as rpc_service
from server.api.page_tokens import position_of
from server.intake import strict_json
from tests.contract.parity.cases import ACCEPTED, REFUSED
from tests.contract.parity.cases.case import Case
from tests.kit.documented_bodies import EMAIL, PUSH, TEXT

DOCUMENT: dict[str, Any] = json.loads(documents()["protos/clarion/v1/openapi.json"])
OPERATIONS: dict[str, dict[str, Any]] = {
    operation["operationId"]: {**operation, "path": path, "verb": verb}
    for path, verbs in DOCUMENT["paths"].items()
    for verb, operation in verbs.items()
}
CALLS = {name: one for name, one in OPERATIONS.items() if one["security"]}
TRIGGER = DOCUMENT["paths"]["/api/client/campaigns/{campaign_id}/trigger"]["post"]
# Their .pyi files predate typed extensions.
ANSWER: Any = options_pb2.answer
FIELD: Any = validate_pb2.field
REGISTRY: Registry[Any] = Registry().with_resource("urn:clarion", DRAFT202012.create_resource(DOCUMENT))
FILES = (api_key_pb2, campaign_pb2, delivery_pb2, trigger_pb2)
# What a schema can see. The rest takes a server: names of time zones, plans of phone numbers, the campaign.
SEEN = {"REQUIRED", "WRONG_TYPE", "UNKNOWN_FIELD"}


def walk(value: object, path: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object in a JSON value with where it is."""
    if isinstance(value, dict):
        yield path, value
        for name, member in value.items():
            if name not in {"example", "value"}:
                yield from walk(member, f"{path}/{name.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list):
        for number, member in enumerate(value):
            yield from walk(member, f"{path}/{number}")


EVERYTHING = dict(walk(DOCUMENT))


def validator(schema: Mapping[str, Any]) -> Validator:
    """Return a validator whose references lead into the document."""
    absolute = json.loads(json.dumps(schema).replace('"#/', '"urn:clarion#/'))
    return Draft202012Validator(absolute, registry=REGISTRY, format_checker=FormatChecker())


BODY = validator(TRIGGER["requestBody"]["content"]["application/json"]["schema"])


def resolve(one: dict[str, Any]) -> dict[str, Any]:
    return EVERYTHING[one["$ref"]] if "$ref" in one else one


def shown_examples() -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    """Yield where each example stands, its schema, and its value."""
    for path, one in EVERYTHING.items():
        if "schema" not in one:
            continue
        if "example" in one:
            yield path, one["schema"], one["example"]
        for name, example in one.get("examples", {}).items():
            yield f"{path} {name}", one["schema"], resolve(example)["value"]


EXAMPLES = {path: (schema, value) for path, schema, value in shown_examples()}


def test_there_are_examples_of_bodies_answers_parameters_and_errors() -> None:
    for part in ("requestBody", "responses/200", "parameters", "components/responses"):
        assert [path for path in EXAMPLES if part in path]


@pytest.mark.parametrize("path", EXAMPLES)
def test_an_example_is_valid_by_its_schema(path: str) -> None:
    schema, value = EXAMPLES[path]
    validator(schema).validate(value)


def test_the_example_of_a_cursor_is_one() -> None:
    assert position_of(examples.CURSOR)


def test_the_document_names_no_address_so_that_it_is_right_wherever_it_is_served() -> None:
    assert [one["url"] for one in DOCUMENT["servers"]] == ["/"]
    assert "127.0.0.1" not in json.dumps(DOCUMENT)


def test_every_reference_leads_somewhere() -> None:
    refs = {one["$ref"] for one in EVERYTHING.values() if isinstance(one.get("$ref"), str)}
    assert len(refs) > 20
    assert refs <= set(EVERYTHING)


def test_every_schema_is_used() -> None:
    refs = {one["$ref"] for one in EVERYTHING.values() if isinstance(one.get("$ref"), str)}
    assert {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]} <= refs


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_says_what_it_does_and_how_it_fails(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"].endswith(".")
    assert operation["description"]
    assert set(operation["tags"]) <= {tag["name"] for tag in DOCUMENT["tags"]}
    statuses = {status[0] for status in operation["responses"]}
    assert statuses == {"2", "4", "5"}


def test_what_a_person_reads_is_never_empty() -> None:
    for path, one in EVERYTHING.items():
        kind = path.split("/")[-2] if path.count("/") > 1 else ""
        if kind in {"properties", "schemas", "parameters", "headers", "responses", "tags"}:
            text = one.get("description") or resolve(one).get("description")
            assert text is None if "anyOf" in path else text, path


def test_calls_need_a_key_with_the_scope_that_the_server_asks_for() -> None:
    needed = {name.rpartition(".")[2]: str(scope) for name, scope in rpc_service._SERVICES.items()}
    for operation in CALLS.values():
        assert operation["security"] == [{"api_key": [needed[operation["tags"][0]]]}]
    assert {operation["tags"][0] for operation in CALLS.values()} == set(needed)


def test_the_paths_are_those_of_the_gateway() -> None:
    routes = {(path.regex, method) for path in contract.load().paths for method in path.methods}
    ours = {(contract.path_regex(one["path"]), one["verb"].upper()) for one in CALLS.values()}
    assert ours == routes
    open_to_all = {one["path"] for name, one in OPERATIONS.items() if name not in CALLS}
    assert open_to_all == {"/healthz", "/readyz", "/openapi.json", "/docs"}


def test_the_limits_are_those_of_the_gateway() -> None:
    options = GatewaySettings(upstreams=("127.0.0.1:1",))
    about = DOCUMENT["info"]["description"]
    assert f"A body may have {options.max_body_bytes // 1024} KiB" in about
    assert f"that of a batch {options.max_batch_bytes // 1024**2} MiB" in about
    assert f"{options.max_header_kib} KiB and {options.max_header_count} in number" in about
    assert f"at most {options.request_timeout:g} seconds" in about


def test_each_error_reason_is_documented_with_each_of_its_statuses() -> None:
    documented = {
        (int(status), reason)
        for operation in OPERATIONS.values()
        for status, answer in operation["responses"].items()
        for reason in resolve(answer).get("content", {}).get("application/json", {}).get("examples", {})
    }
    nowhere = ["NotFound", "MethodNotAllowed"]  # of paths and methods that are not there
    for key, status in zip(nowhere, (404, 405), strict=True):
        answer = DOCUMENT["components"]["responses"][key]
        documented |= {(status, reason) for reason in answer["content"]["application/json"]["examples"]}
    promised = {(s, one.name) for one in reasons(load()).values() for s in one.statuses}
    assert documented == promised


@pytest.mark.parametrize(
    ("status", "header"),
    [(401, "www-authenticate"), (429, "retry-after"), (429, "RateLimit-Policy"), (503, "retry-after")],
)
def test_an_answer_names_its_headers(status: int, header: str) -> None:
    for operation in CALLS.values():
        assert header in resolve(operation["responses"][str(status)])["headers"]


def test_reasons_stand_only_where_they_can_be_met() -> None:
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


def test_a_trigger_answers_204_with_its_id_and_no_body() -> None:
    answer = TRIGGER["responses"]["204"]
    assert "content" not in answer
    assert answer["headers"]["x-trigger-id"]["schema"] == {"type": "string", "format": "uuid"}


@pytest.mark.parametrize("name", examples.RESPONSES)
def test_an_example_answer_is_the_json_of_its_message(name: str) -> None:
    [message] = [getattr(file, name) for file in FILES if hasattr(file, name)]
    parsed = json_format.ParseDict(examples.RESPONSES[name], message())
    again = json_format.MessageToDict(parsed, preserving_proto_field_name=True)
    assert again == examples.RESPONSES[name]


@pytest.mark.parametrize("name", DOCUMENT["components"]["examples"])
def test_an_example_error_is_the_json_of_a_status(name: str) -> None:
    value = DOCUMENT["components"]["examples"][name]["value"]
    status = json_format.ParseDict(
        value, status_pb2.Status(), descriptor_pool=error_details_pb2.DESCRIPTOR.pool
    )
    answer = error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name[f"ERROR_REASON_{name}"].GetOptions()
    assert status.code == answer.Extensions[ANSWER].code


@pytest.mark.parametrize("text", [EMAIL, TEXT, PUSH], ids=["email", "text", "push"])
def test_the_documented_bodies_are_valid_and_are_the_examples(text: str) -> None:
    body = json.loads(strict_json.without_trailing_commas(text))
    BODY.validate(body)
    assert body in examples.BODIES.values()


def parsed(case: Case) -> Any:
    """Return a case's body, or `...` if it is no JSON."""
    try:
        text = strict_json.without_trailing_commas(case.content.decode())
        return strict_json.decode(text, depth=100)
    except ValueError:
        return ...


def is_seen(case: Case) -> bool:
    """Tell whether a schema can see what is wrong with a body."""
    return parsed(case) is not ... and any(
        reason in SEEN and field != "campaign_id" for field, reason in case.fields
    )


TAKEN = [case for case in ACCEPTED if parsed(case) is not ...]
WRONG = [case for case in REFUSED if is_seen(case)]


def test_there_are_bodies_enough_to_hold_the_schema_against() -> None:
    assert len(TAKEN) > 20
    assert len(WRONG) > 50


@pytest.mark.parametrize("case", TAKEN, ids=lambda case: case.name)
def test_a_body_that_the_server_takes_is_valid(case: Case) -> None:
    BODY.validate(parsed(case))


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.name)
def test_a_body_that_the_server_refuses_for_its_shape_is_not_valid(case: Case) -> None:
    assert not BODY.is_valid(parsed(case))


@pytest.mark.parametrize(
    "changes",
    [
        {"external_id": "x" * 256},
        {"external_id": "a\nb"},
        {"email": "x" * 255},
        {"email": "nobody"},
        {"locale": "e!"},
        {"timezone": "x" * 65},
        {"email": ..., "phone": "0123"},
        {"email": ..., "device_token": "a device token"},
    ],
    ids=str,
)
def test_a_member_that_breaks_a_rule_of_the_protos_is_not_valid(changes: dict[str, Any]) -> None:
    user = {**examples.BODIES["email"]["user"], **changes}
    assert not BODY.is_valid({"user": {name: one for name, one in user.items() if one is not ...}})


def test_an_address_of_another_channel_is_not_looked_at() -> None:
    user = examples.BODIES["email"]["user"]
    BODY.validate({"user": {**user, "phone": "none", "device_token": ""}})


def test_the_patterns_mean_the_same_in_javascript() -> None:
    patterns = [one["pattern"] for one in EVERYTHING.values() if isinstance(one.get("pattern"), str)]
    assert patterns
    for pattern in patterns:
        assert pattern.isprintable()
        assert not re.search(r"\\x\{|\\[zAZpP]|\(\?", pattern), "RE2 and Python only"


def test_a_rule_that_cannot_be_translated_stops_the_build() -> None:
    file = descriptor_pb2.FileDescriptorProto(
        name="clarion_tests/rules.proto", syntax="proto3", dependency=["buf/validate/validate.proto"]
    )
    field = file.message_type.add(name="Ruled").field.add(name="text", number=1, label=1, type=9)
    field.options.Extensions[FIELD].string.prefix = "sk_"
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    ruled = pool.FindMessageTypeByName("Ruled").fields_by_name["text"]
    with pytest.raises(NotImplementedError, match=r"Ruled\.text: the rule prefix"):
        rules_of(ruled)


def test_a_service_without_a_scope_in_its_comment_stops_the_build() -> None:
    described = load()
    silent = {**described.comments, "clarion.v1.TriggerService": "TriggerService takes triggers."}
    with pytest.raises(LookupError, match="TriggerService"):
        openapi.build(type(described)(described.files, silent), "1")
