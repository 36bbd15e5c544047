"""The gateway's configuration as data: no Envoy needed."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

import gateway
from clarion.v1 import error_reason_pb2
from gateway import GatewayError, GatewayOptions, build, command, contract, render
from gateway.contract import path_regex

OPTIONS = GatewayOptions(upstreams=("unix:/run/clarion/server-0.sock", "127.0.0.1:50051"))


def manager(options: GatewayOptions = OPTIONS) -> dict[str, Any]:
    listener = build(options)["static_resources"]["listeners"][0]
    found: dict[str, Any] = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return found


def cluster(options: GatewayOptions = OPTIONS) -> dict[str, Any]:
    found: dict[str, Any] = build(options)["static_resources"]["clusters"][0]
    return found


def routes(options: GatewayOptions = OPTIONS) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = manager(options)["route_config"]["virtual_hosts"][0]["routes"]
    return found


def test_paths_come_from_the_annotations() -> None:
    paths = {path.regex: path for path in contract.load().paths}
    trigger = paths["/api/client/campaigns/[^/]+/trigger"]
    assert trigger.methods == ("POST",)
    assert trigger.body_methods == ("POST",)
    assert paths["/api/client/keys/[^/]+"].methods == ("DELETE",)
    assert paths["/api/client/campaigns"].body_methods == ()


def test_a_path_with_a_variable_takes_no_query() -> None:
    queries = {path.regex: path.takes_query for path in contract.load().paths}
    assert queries["/api/client/campaigns"]
    assert not queries["/api/client/keys/[^/]+"]


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


def test_answers_of_the_gateway_are_statuses_with_one_error_info() -> None:
    bodies = [
        json.loads(r["direct_response"]["body"]["inline_string"]) for r in routes() if "direct_response" in r
    ]
    assert len(bodies) > 10
    for body in bodies:
        infos = [d for d in body["details"] if d["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"]
        assert [info["domain"] for info in infos] == ["clarion"]
        assert body["message"]


def test_nothing_is_sent_twice_by_the_gateway() -> None:
    policies = [route["route"]["retry_policy"]["retry_on"] for route in routes() if "route" in route]
    assert set(policies) == {"connect-failure,refused-stream,reset-before-request"}


def test_filters_for_rest_are_off_but_on_rest_routes() -> None:
    for each in manager()["http_filters"]:
        name = each["name"].rpartition(".")[2]
        assert each.get("disabled", False) is (name not in {"health_check", "router"})
    for route in routes():
        if "grpc" in route["match"]:
            assert "typed_per_filter_config" not in route


def test_sockets_and_addresses_need_no_dns_but_names_do() -> None:
    assert cluster()["type"] == "STATIC"
    named = GatewayOptions(upstreams=("server.internal:50051", "[::1]:50051"))
    assert cluster(named)["type"] == "STRICT_DNS"
    endpoints = cluster(named)["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert endpoints[1]["endpoint"]["address"]["socket_address"] == {"address": "::1", "port_value": 50051}


def test_the_admin_interface_is_a_private_socket_or_nothing() -> None:
    assert "admin" not in build(OPTIONS)
    options = GatewayOptions(upstreams=OPTIONS.upstreams, admin_socket=Path("/run/admin.sock"))
    assert build(options)["admin"]["address"]["pipe"] == {"path": "/run/admin.sock", "mode": 0o600}


def test_the_access_log_names_neither_credentials_nor_queries() -> None:
    assert "access_log" not in manager()
    log = json.dumps(manager(GatewayOptions(upstreams=OPTIONS.upstreams, access_log=True))["access_log"])
    assert "AUTHORIZATION" not in log.upper()
    assert "%PATH(NQ:" in log


def test_what_is_printed_is_what_is_built() -> None:
    assert json.loads(render(OPTIONS)) == build(OPTIONS)


def test_envoys_do_not_share_memory_and_have_the_workers_asked_for(tmp_path: Path) -> None:
    arguments = command(GatewayOptions(upstreams=OPTIONS.upstreams, concurrency=3), tmp_path / "envoy.json")
    assert "--disable-hot-restart" in arguments
    assert arguments[arguments.index("--concurrency") + 1] == "3"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"upstreams": ()}, "upstreams"),
        ({"upstreams": ("localhost",)}, "host:port"),
        ({"upstreams": ("localhost:99999",)}, "host:port"),
        ({"upstreams": ("unix:relative.sock",)}, "absolute"),
        ({"upstreams": ("unix:/" + "x" * 107,)}, "107 bytes"),
        ({"upstreams": ("unix:/a", "name:1")}, "cannot be mixed"),
        ({"admin_socket": Path("/" + "x" * 107)}, "107 bytes"),
        ({"listen_port": 0}, "listen_port"),
        ({"request_timeout": 0}, "request_timeout"),
        ({"max_body_bytes": -1}, "max_body_bytes"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(GatewayError, match=re.escape(said)):
        GatewayOptions(**{"upstreams": ("127.0.0.1:1",), **settings})


def test_no_builder_is_longer_than_forty_lines() -> None:
    for file in Path(gateway.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 40, f"{file.name}: {node.name}"


def test_the_gateway_never_imports_the_server() -> None:
    for file in Path(gateway.__file__).parent.glob("*.py"):
        assert not re.search(r"^\s*(from|import) server\b", file.read_text(), re.MULTILINE), file.name
