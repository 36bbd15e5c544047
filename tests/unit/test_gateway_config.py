"""The gateway's configuration as data: no Envoy needed."""

from __future__ import annotations

import ast
import json
import re
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
import pytest

import gateway
from clarion.v1 import trigger_pb2
from gateway import GatewayError, GatewaySettings, build, render
from gateway.config import contract
from gateway.config.contract import built
from gateway.errors import GatewaySettingsError
from gateway.run.command import command
from tests.kit.gateway_config import BATCH, OPTIONS, cluster, clusters, manager, routes

EVENTS = f"/api/client/triggers{contract.COLON}watch"
ADMISSION = "envoy.filters.http.adaptive_concurrency"


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
    for path, other in rest.items():
        assert (ADMISSION in other["typed_per_filter_config"]) == ("/api/admin/" not in path), path
    assert {other["route"]["timeout"] for other in rest.values()} == {"10.0s"}


def test_readiness_has_a_cluster_without_calls() -> None:
    assert cluster()["health_checks"][0]["grpc_health_check"] == {}
    ready = clusters()["ready"]
    checked = ready["health_checks"][0]["grpc_health_check"]["service_name"]
    assert checked == trigger_pb2.DESCRIPTOR.services_by_name["TriggerService"].full_name
    assert ready["load_assignment"]["endpoints"] == cluster()["load_assignment"]["endpoints"]
    assert {route["route"]["cluster"] for route in routes() if "route" in route} == {"servers", "keyless"}


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
            is_admin = "clarion.admin" in str(route["match"]).replace("\\", "")
            assert on == (
                set()
                if "prefix" in route["match"] and keyless
                else {"buffer", "messages"}
                | (set() if keyless else {"keys", "fault"})
                | ({"adaptive_concurrency"} if unary and not is_admin else set())
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
    check = cluster()["health_checks"][0]
    assert float(check["timeout"].rstrip("s")) + float(check["interval"].rstrip("s")) <= 1.5
    assert check["unhealthy_threshold"] == 1


def test_servers_that_are_all_late_get_calls() -> None:
    first, second = clusters()["servers"]["cluster_type"]["typed_config"]["clusters"]
    prompt, patient = (
        float(clusters()[name]["health_checks"][0]["timeout"].rstrip("s")) for name in (first, second)
    )
    assert patient == 5 * prompt
    assigned = [clusters()[name]["load_assignment"] for name in (first, second)]
    assert assigned[0]["endpoints"] == assigned[1]["endpoints"]
    # While one of a hundred is in time, the second cluster, which may still have a hung server, gets nothing.
    assert assigned[0]["policy"]["overprovisioning_factor"] >= 100 * 100
