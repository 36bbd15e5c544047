"""The OpenAPI document and the reference of the admin API: what the descriptors, gateway and server say."""

from __future__ import annotations

import json

from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass

from gateway.config import contract
from generate.described import ADMIN, load
from generate.reasons import OF_ADMIN, reasons
from server.admin.call import required_role
from server.admin.services import DESCRIPTORS
from server.api.proto_messages import as_json
from tests.kit.documented_schemas import ADMIN_API, CLIENT_API
from tests.kit.enum_names import enum_names, with_names

DESCRIBED = load(ADMIN)
METHODS = {f"{s.name}_{m.name}": m for s in DESCRIBED.services for m in s.methods}
JSON = "application/json"
NAMES = enum_names(DESCRIBED.files)


def test_paths_match_the_gateway() -> None:
    routes = {
        (path.regex, method) for path in contract.load().paths if path.is_admin for method in path.methods
    }
    shown = ADMIN_API.operations.values()
    assert {(contract.path_regex(one["path"]), one["verb"].upper()) for one in shown} == routes


def test_every_service_of_the_server_is_documented() -> None:
    assert {service.full_name for service in DESCRIBED.services} == set(DESCRIPTORS)
    assert {tag["name"] for tag in ADMIN_API.document["tags"]} == {one.name for one in DESCRIPTORS.values()}


def test_roles_match_the_server() -> None:
    for name, operation in ADMIN_API.operations.items():
        role = required_role(METHODS[name])
        assert operation.get("x-required-role") == (role.value if role else None), name
        assert (f"Needs the role `{role}`." in operation["description"]) == bool(role), name


def test_only_callers_with_api_keys_have_headers_of_limits() -> None:
    for api, limits in ((ADMIN_API, False), (CLIENT_API, True)):
        for name, operation in api.operations.items():
            if "429" in operation["responses"]:
                sent = api.resolve(operation["responses"]["429"])["headers"]
                assert "retry-after" in sent, name
                assert ("RateLimit" in sent, "RateLimit-Policy" in sent) == (limits, limits), name
        assert ("RateLimit" in api.document["components"]["headers"]) is limits


def test_bodies_have_all_fields_outside_the_path() -> None:
    for name, operation in ADMIN_API.operations.items():
        in_path = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        fields = {field.name for field in METHODS[name].input_type.fields}
        if "requestBody" in operation:
            body = ADMIN_API.resolve(operation["requestBody"]["content"][JSON]["schema"])
            assert body["additionalProperties"] is False
            assert set(body["properties"]) == fields - in_path, name
        else:
            assert {one["name"] for one in operation["parameters"]} == fields, name


def test_example_responses_are_the_json_of_their_messages() -> None:
    for name, operation in ADMIN_API.operations.items():
        content = operation["responses"]["200"]["content"]
        if JSON in content:
            example = content[JSON]["example"]
            message = GetMessageClass(METHODS[name].output_type)()
            json_format.ParseDict(with_names(example, NAMES), message)
            assert json.loads(as_json(message, always=True)).keys() >= example.keys(), name


def test_errors_of_the_admin_api_are_in_its_document_only() -> None:
    own = {one.name for one in reasons(DESCRIBED).values() if one.is_met_by((OF_ADMIN,))}
    assert own >= {"ROLE_MISSING", "RESOURCE_NOT_FOUND", "ETAG_MISMATCH", "RESOURCE_EXISTS", "RESOURCE_STATE"}
    shown = {
        api: set(api.document["components"]["schemas"]["ErrorReason"]["enum"])
        for api in (ADMIN_API, CLIENT_API)
    }
    assert own <= shown[ADMIN_API]
    assert not own & shown[CLIENT_API]
    assert {"CAMPAIGN_PAUSED", "SCOPE_MISSING", "NOT_READY"} <= shown[CLIENT_API] - shown[ADMIN_API]
