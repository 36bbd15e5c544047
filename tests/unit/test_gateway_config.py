"""The gateway's configuration as data: no Envoy needed."""

from __future__ import annotations

import ast
import base64
import json
import re
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2, json_format
from google.rpc import status_pb2

import gateway
from clarion.v1 import error_reason_pb2, options_pb2, trigger_pb2
from gateway import GatewayError, GatewaySettings, build, render
from gateway.config import contract, replies
from gateway.config.contract import built, path_regex
from gateway.config.replies import Reply, too_large
from gateway.errors import GatewaySettingsError
from gateway.run.command import command
from generate import raw_bodies
from server.intake.rest_message import RAW_BODY
from tests.kit.cases import each_case

HTTP: Any = annotations_pb2.http
ANSWER: Any = options_pb2.answer  # its .pyi file predates typed extensions
EVENTS = f"/api/client/triggers{contract.COLON}watch"
BATCH = f"/api/client/triggers{contract.COLON}batch"
ADMISSION = "envoy.filters.http.adaptive_concurrency"
OPTIONS = GatewaySettings(upstreams=("unix:/run/clarion/server-0.sock", "127.0.0.1:50051"))


def manager(options: GatewaySettings = OPTIONS) -> dict[str, Any]:
    listener = build(options)["static_resources"]["listeners"][0]
    found: dict[str, Any] = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return found


def clusters(options: GatewaySettings = OPTIONS) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in build(options)["static_resources"]["clusters"]}


def cluster(options: GatewaySettings = OPTIONS) -> dict[str, Any]:
    return clusters(options)["server"]


def routes(options: GatewaySettings = OPTIONS) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = manager(options)["route_config"]["virtual_hosts"][0]["routes"]
    return found


def test_paths_come_from_the_annotations() -> None:
    paths = {path.regex: path for path in contract.load().paths}
    trigger = paths["/api/client/campaigns/[^/]+/trigger"]
    assert trigger.methods == ("POST",)
    assert trigger.body_methods == ("POST",)
    assert paths["/api/client/keys/[^/]+"].methods == ("DELETE",)
    assert paths["/api/client/campaigns"].body_methods == ()


def test_methods_with_a_body_take_no_query() -> None:
    without_query = {path.regex: path.methods_without_query for path in contract.load().paths}
    assert without_query["/api/client/campaigns"] == without_query["/api/client/keys/[^/]+"] == ()
    assert without_query[BATCH] == without_query["/api/admin/v1/projects"] == ("POST",)


def test_server_knows_the_field_of_raw_bodies() -> None:
    assert raw_bodies.NUMBER == RAW_BODY


def test_other_bodies_are_not_supported() -> None:
    described = descriptor_pb2.FileDescriptorSet.FromString(contract.descriptor_path().read_bytes())
    method = next(m for f in described.file for s in f.service for m in s.method if m.name == "ListTriggers")
    rule: Any = method.options.Extensions[HTTP]
    rule.body = "external_id"
    with pytest.raises(ValueError, match="ListTriggers"):
        raw_bodies.with_raw_bodies(described.SerializeToString())


@pytest.mark.parametrize(
    ("template", "path", "matches"),
    [
        ("/a/{id}/b", "/a/1/b", True),
        ("/a/{id}/b", "/a/1/2/b", False),
        ("/a/{id}/b", "/a//b", False),
        ("/a/{id}", "/a/1/", False),
        ("/v1/{name=a/*/b/*}", "/v1/a/1/b/2", True),
        ("/v1/{name=a/*}", "/v1/b/1", False),
        ("/v1/{name=**}", "/v1/a/b/c", True),
        ("/a.b/{id}", "/aXb/1", False),
        ("/a/{id}:stop", "/a/1:stop", True),
    ],
)
def test_a_template_becomes_an_expression_for_whole_paths(template: str, path: str, matches: bool) -> None:  # noqa: FBT001
    assert (re.fullmatch(path_regex(template), path) is not None) is matches


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


def test_browsers_read_that_no_portal_is_configured() -> None:
    (page,) = [one for one in routes() if one["match"].get("path_separated_prefix") == "/portal"]
    assert page["direct_response"]["status"] == HTTPStatus.SERVICE_UNAVAILABLE
    assert "clarion portal" in page["direct_response"]["body"]["inline_string"]


def test_the_portal_has_its_own_limits_and_path() -> None:
    options = GatewaySettings(portal="unix:/run/clarion/portal.sock", portal_path="/ops/clarion")
    (portal,) = [one for one in build(options)["static_resources"]["clusters"] if one["name"] == "portal"]
    most = {one["priority"]: one["max_requests"] for one in portal["circuit_breakers"]["thresholds"]}
    assert most == {"DEFAULT": 64, "HIGH": 100}
    mine = [one for one in routes(options) if one.get("route", {}).get("cluster") == "portal"]
    paths = [one["match"]["path_separated_prefix"] for one in mine]
    assert paths == ["/ops/clarion/live", "/ops/clarion/export", "/ops/clarion"]
    assert all(one["request_headers_to_add"][0]["header"]["key"] == "x-clarion-caller" for one in mine)


@pytest.mark.parametrize("value", ["somewhere", "unix:relative.sock", "host:99999"])
def test_the_portals_address_is_checked(value: str) -> None:
    with pytest.raises(GatewaySettingsError, match="portal"):
        GatewaySettings(portal=value)


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


def test_calls_and_streams_have_separate_limits() -> None:
    options = GatewaySettings(upstreams=OPTIONS.upstreams, max_concurrent_per_server=7)
    limits = {each["priority"]: each for each in cluster(options)["circuit_breakers"]["thresholds"]}
    assert limits["DEFAULT"]["max_requests"] == limits["DEFAULT"]["max_pending_requests"] == 14
    assert limits["HIGH"]["max_requests"] == 1000
    high = [r["match"] for r in routes() if r.get("route", {}).get("priority") == "HIGH"]
    prefixes = {match.get("path", match.get("prefix", "")).split("/")[1] for match in high if "grpc" in match}
    assert prefixes == {"grpc.health.v1.Health", "clarion.v1.DeliveryService"}


def test_event_streams_are_endless_and_not_counted() -> None:
    rest = {
        r["match"]["safe_regex"]["regex"]: r for r in routes() if "safe_regex" in r["match"] and "route" in r
    }
    route = rest.pop(EVENTS)
    del rest[BATCH]
    assert route["route"]["timeout"] == "0s"
    assert route["route"]["priority"] == "HIGH"
    assert ADMISSION not in route["typed_per_filter_config"]
    assert all(ADMISSION in other["typed_per_filter_config"] for other in rest.values())
    assert {other["route"]["timeout"] for other in rest.values()} == {"10.0s"}


def test_readiness_has_a_cluster_without_calls() -> None:
    assert cluster()["health_checks"][0]["grpc_health_check"] == {}
    ready = clusters()["ready"]
    checked = ready["health_checks"][0]["grpc_health_check"]["service_name"]
    assert checked == trigger_pb2.DESCRIPTOR.services_by_name["TriggerService"].full_name
    assert ready["load_assignment"]["endpoints"] == cluster()["load_assignment"]["endpoints"]
    assert {route["route"]["cluster"] for route in routes() if "route" in route} == {"server", "keyless"}


def test_a_document_of_any_size_is_served() -> None:
    largest = manager()["route_config"]["max_direct_response_body_size_bytes"]
    for name in ("openapi.json", "docs.html"):
        assert largest >= built(name).stat().st_size


def test_a_file_that_was_not_built_is_named_with_what_builds_it() -> None:
    with pytest.raises(GatewayError, match=r"nothing\.html is missing: run `make proto`"):
        built("nothing.html")


def test_nothing_is_sent_twice_by_the_gateway() -> None:
    policies = [route["route"]["retry_policy"]["retry_on"] for route in routes() if "route" in route]
    assert set(policies) == {"connect-failure,refused-stream,reset-before-request"}


def test_filters_are_enabled_by_route() -> None:
    for each in manager()["http_filters"]:
        name = each["name"].rpartition(".")[2]
        always = {"router", "header_mutation", "request_id", "trace"}
        assert each.get("disabled", False) is (name not in always)
    for route in routes():
        if "grpc" in route["match"] and "route" in route:
            on = {name.rpartition(".")[2] for name in route.get("typed_per_filter_config", ())}
            path = route["match"].get("path", "")
            keyless = route["route"]["cluster"] == "keyless"
            unary = not keyless and "Batch" not in path and route["route"].get("priority") != "HIGH"
            assert on == (
                set()
                if "prefix" in route["match"] and keyless
                else {"buffer", "messages"}
                | (set() if keyless else {"keys"})
                | ({"adaptive_concurrency"} if unary else set())
            )


def test_batches_have_a_separate_size_and_no_adaptive_limit() -> None:
    options = GatewaySettings(upstreams=OPTIONS.upstreams, max_batch_bytes=12345)
    ways = [route for route in routes(options) if BATCH in str(route["match"]) and "route" in route]
    ways += [route for route in routes(options) if "BatchTrigger" in route["match"].get("path", "")]
    assert len(ways) == 6  # REST, and with an encoded colon; two methods, each by gRPC and by gRPC-Web
    for way in ways:
        assert not [name for name in way.get("typed_per_filter_config", ()) if "adaptive" in name]
    for way in ways[:2]:
        buffer = way["typed_per_filter_config"]["envoy.filters.http.buffer"]["config"]["buffer"]
        assert buffer == {"max_request_bytes": 12345}
    refusals = [route for route in routes(options) if "12345 bytes" in str(route.get("direct_response"))]
    assert [route["match"]["safe_regex"]["regex"] for route in refusals] == [BATCH]


def test_sockets_and_addresses_need_no_dns_but_names_do() -> None:
    assert cluster()["type"] == "STATIC"
    named = GatewaySettings(upstreams=("server.internal:50051", "[::1]:50051"))
    assert cluster(named)["type"] == "STRICT_DNS"
    endpoints = cluster(named)["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert endpoints[1]["endpoint"]["address"]["socket_address"] == {"address": "::1", "port_value": 50051}


def test_the_admin_interface_is_a_private_socket_or_nothing() -> None:
    assert "admin" not in build(OPTIONS)
    options = GatewaySettings(upstreams=OPTIONS.upstreams, admin_socket="/run/admin.sock")
    assert build(options)["admin"]["address"]["pipe"] == {"path": "/run/admin.sock", "mode": 0o600}


def test_the_access_log_names_neither_credentials_nor_queries() -> None:
    assert "access_log" not in manager()
    log = json.dumps(manager(GatewaySettings(upstreams=OPTIONS.upstreams, access_log=True))["access_log"])
    assert "AUTHORIZATION" not in log.upper()
    assert "%PATH(NQ:" in log


def test_what_is_printed_is_what_is_built() -> None:
    assert json.loads(render(OPTIONS)) == build(OPTIONS)


def test_command_disables_shared_memory_and_sets_workers(tmp_path: Path) -> None:
    arguments = command(GatewaySettings(upstreams=OPTIONS.upstreams, threads=3), tmp_path / "envoy.json")
    assert "--disable-hot-restart" in arguments
    assert arguments[arguments.index("--concurrency") + 1] == "3"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"upstreams": ()}, "upstreams: is empty; name at least one server"),
        ({"upstreams": ("localhost",)}, "upstreams: 'localhost' must be unix:/path or host:port"),
        ({"upstreams": ("localhost:99999",)}, "host:port"),
        ({"upstreams": ("unix:relative.sock",)}, "absolute"),
        ({"upstreams": ("unix:/" + "x" * 107,)}, "107 bytes"),
        ({"upstreams": ("unix:/a", "name:1")}, "cannot be mixed"),
        ({"spare": "localhost"}, "host:port"),
        ({"admin_socket": "/" + "x" * 107}, "107 bytes"),
        ({"admin_socket": "relative.sock"}, "absolute"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(GatewayError, match=re.escape(said)):
        GatewaySettings(**settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", 0),
        ("request_timeout", 0),
        ("drain_timeout", 0),
        ("drain_grace", -1),
        ("max_body_bytes", -1),
        ("max_batch_bytes", 0),
        ("max_heap_bytes", 0),
        ("max_header_kib", 13),
        ("max_concurrent_per_server", 0),
    ],
)
def test_a_setting_out_of_bounds_is_named(name: str, value: int) -> None:
    with pytest.raises(msgspec.ValidationError, match=rf"\$\.{name}"):
        msgspec.convert({name: value}, GatewaySettings)


def test_no_builder_is_longer_than_forty_lines() -> None:
    for file in Path(gateway.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 40, f"{file.name}: {node.name}"


def test_the_gateway_never_imports_the_server() -> None:
    for file in Path(gateway.__file__).parent.rglob("*.py"):
        assert not re.search(r"^\s*(from|import) server\b", file.read_text(), re.MULTILINE), file.name


def test_one_hung_server_of_several_is_found_within_1500_ms() -> None:
    several = GatewaySettings(upstreams=("unix:/a", "unix:/b"))
    for one in clusters(several).values():
        check = one["health_checks"][0]
        assert float(check["timeout"].rstrip("s")) + float(check["interval"].rstrip("s")) <= 1.5
        assert check["unhealthy_threshold"] == 1
