"""OpenTelemetry's variables, and the gateway's configuration for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway import GatewaySettings, Otlp, OtlpProblem, build, otlp_problem, read_otlp, render
from tests.kit.cases import each_case
from tests.kit.gateway_config import OPTIONS

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
ON = {ENDPOINT: "http://collector:4318"}
HIDDEN = "k-5ecret"


@each_case(
    "environ",
    [
        {},
        {ENDPOINT: ""},
        {"OTEL_SERVICE_NAME": "shop"},
        {**ON, "OTEL_SDK_DISABLED": "true"},
        {**ON, "OTEL_TRACES_EXPORTER": "none"},
        {**ON, "OTEL_TRACES_SAMPLER": "always_off"},
        {"OTEL_TRACES_SAMPLER": "nonsense"},
    ],
)
def test_traces_are_off(environ: dict[str, str]) -> None:
    assert read_otlp(environ) is None
    assert otlp_problem(environ) == ""


@each_case(
    ("environ", "member", "value"),
    [
        (ON, "endpoint", "http://collector:4318/v1/traces"),
        ({ENDPOINT: "http://c/otlp/"}, "endpoint", "http://c/otlp/v1/traces"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "endpoint", "http://localhost:4318/v1/traces"),
        ({**ON, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://t/x"}, "endpoint", "https://t/x"),
        (ON, "timeout", 10.0),
        ({**ON, "OTEL_EXPORTER_OTLP_TIMEOUT": "2500"}, "timeout", 2.5),
        ({**ON, "OTEL_EXPORTER_OTLP_HEADERS": "A=1, b=x%20y"}, "headers", {"a": "1", "b": "x y"}),
        (
            {**ON, "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "c=2", "OTEL_EXPORTER_OTLP_HEADERS": "a=1"},
            "headers",
            {"c": "2"},
        ),
        ({**ON, "OTEL_RESOURCE_ATTRIBUTES": "a.b=c%2Cd"}, "attributes", {"a.b": "c,d"}),
        ({**ON, "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}, "compress", True),
        (ON, "ratio", 1.0),
        ({**ON, "OTEL_TRACES_SAMPLER": "parentbased_always_off"}, "ratio", 0.0),
        (
            {**ON, "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"},
            "ratio",
            0.01,
        ),
        ({**ON, "OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}, "ratio", 1.0),
        ({**ON, "OTEL_BSP_MAX_QUEUE_SIZE": "100"}, "batch", 100),
        ({**ON, "OTEL_BSP_SCHEDULE_DELAY": "200"}, "delay", 0.2),
    ],
)
def test_variables_are_read(environ: dict[str, str], member: str, value: Any) -> None:
    assert getattr(read_otlp(environ), member) == value


@each_case(
    ("name", "value"),
    [
        (ENDPOINT, "collector:4318"),
        (ENDPOINT, "ftp://collector"),
        (ENDPOINT, "http://collector:port"),
        (ENDPOINT, f"http://user:{HIDDEN}@collector"),
        (ENDPOINT, f"http://collector?token={HIDDEN}"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
        ("OTEL_EXPORTER_OTLP_HEADERS", f"{HIDDEN}"),
        ("OTEL_EXPORTER_OTLP_HEADERS", f"a={HIDDEN}%0D%0Ab: c"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such/file"),
        ("OTEL_TRACES_SAMPLER", "always_on"),
        ("OTEL_TRACES_SAMPLER", "nonsense"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_RESOURCE_ATTRIBUTES", "nonsense"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4096"),
        ("OTEL_BSP_SCHEDULE_DELAY", "soon"),
    ],
)
def test_an_invalid_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(OtlpProblem, match=f"^{name}: ") as caught:
        read_otlp({**ON, name: value})
    assert HIDDEN not in str(caught.value)
    assert otlp_problem({**ON, name: value}) == f"traces are off: {caught.value}"


def test_every_invalid_variable_is_named() -> None:
    wrong = {**ON, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_BSP_SCHEDULE_DELAY": "soon"}
    wrong |= {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"}
    text = otlp_problem(wrong)
    assert "OTEL_TRACES_SAMPLER_ARG: '2' must be a number from 0 to 1" in text
    assert "OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' must be http/protobuf" in text
    assert "OTEL_BSP_SCHEDULE_DELAY: 'soon'" in text


def test_client_certificate_and_key_come_together(tmp_path: Path) -> None:
    (tmp_path / "pair.pem").touch()
    given = {**ON, "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(tmp_path / "pair.pem")}
    assert "set both, or neither" in otlp_problem(given)


def test_headers_are_not_in_a_repr() -> None:
    assert HIDDEN not in repr(read_otlp({**ON, "OTEL_EXPORTER_OTLP_HEADERS": f"a={HIDDEN}"}))


def test_gateway_without_traces_has_no_trace_of_them() -> None:
    text = str(build(OPTIONS))
    assert "otlp" not in text
    assert "tracing" not in text


@pytest.mark.parametrize("host", ["127.0.0.1", "collector"])
def test_gateway_checks_the_collectors_certificate(host: str) -> None:
    built = build(OPTIONS, Otlp(f"https://{host}/v1/traces"))
    [cluster] = [one for one in built["static_resources"]["clusters"] if one["name"] == "otlp"]
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    assert endpoint["address"]["socket_address"] == {"address": host, "port_value": 443}
    context = cluster["transport_socket"]["typed_config"]["common_tls_context"]["validation_context"]
    assert Path(context["trusted_ca"]["filename"]).is_file()
    assert [one["matcher"]["exact"] for one in context["match_typed_subject_alt_names"]] == [host]


def test_invalid_variable_leaves_the_gateway_without_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "nonsense")
    assert "otlp" not in render(GatewaySettings())
    monkeypatch.setenv(ENDPOINT, "http://collector:4318")
    assert "http://collector:4318/v1/traces" in render(GatewaySettings())
