"""The Helm chart, rendered by Helm's own code and checked against Kubernetes' schemas."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.config import load
from tests.deploy.conftest import ROOT
from tests.kit.commands import run_program

pytestmark = pytest.mark.long

CHART = ROOT / "deploy/chart"
KUBERNETES = ("1.30", "1.37")
"""The oldest version that the chart allows, and the newest that kubernetes-validate knows."""
SECRET: dict[str, Any] = {"existingSecret": "clarion"}
EVERYTHING: dict[str, Any] = {
    **SECRET,
    "filesSecret": "keys",
    "image": {"pullSecrets": [{"name": "registry"}]},
    "settings": {
        "log": {"level": "debug"},
        "server": {"lame_duck": 3, "shutdown_grace": 7.5, "max_pending": 5000},
        "dispatch": {"shutdown_grace": 60},
        "gateway": {"drain_timeout": 45, "drain_grace": 2},
        "portal": {"base_path": "/ops"},
        "providers": {"smtp": {"type": "smtp", "host": "smtp.example.com", "port": 587}},
    },
    "server": {"autoscaling": {"enabled": True, "maxReplicas": 8}},
    "dispatcher": {"autoscaling": {"mode": "keda"}},
    "gateway": {
        "tlsSecret": "tls",
        "clientCaSecret": "callers",
        "autoscaling": {"enabled": True},
        "service": {"type": "LoadBalancer", "annotations": {"example.com/a": "b"}},
    },
    "serverTls": {"serverSecret": "servers", "clientSecret": "gateways"},
    "portal": {"existingSecret": "oidc"},
    "networkPolicy": {"gatewayFrom": [{"namespaceSelector": {}}]},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "dashboards": {"enabled": True},
    "tolerations": [{"operator": "Exists"}],
    "nodeSelector": {"a": "b"},
    "podAnnotations": {"a": "b"},
    "otel": {
        "variables": {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317",
            "OTEL_TRACES_SAMPLER_ARG": 0.01,
        },
        "existingSecret": "otel",
        "port": 4317,
    },
    "serviceAccountName": "clarion",
}
CUSTOM = {"ServiceMonitor", "PrometheusRule", "ScaledObject"}
"""Kinds of operators, which Kubernetes' own schemas do not have."""

Manifest = dict[str, Any]


async def rendered(ship: Path, values: dict[str, Any]) -> tuple[int, str]:
    """Return the exit code and what was printed."""
    process = await asyncio.create_subprocess_exec(
        *(str(ship / "python"), str(Path(__file__).with_name("helm_render.py")), str(CHART)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(json.dumps(values).encode())
    assert process.returncode is not None
    return process.returncode, (out if process.returncode == 0 else err).decode()


async def manifests(ship: Path, values: dict[str, Any]) -> list[Manifest]:
    """Render the chart, which must succeed."""
    code, printed = await rendered(ship, values)
    assert code == 0, printed
    texts = (text for name, text in json.loads(printed).items() if name.endswith(".yaml"))
    return [one for text in texts for one in yaml.safe_load_all(text) if one]


def of_kind(found: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {
        one["metadata"]["name"].removeprefix("shop-clarion-"): one for one in found if one["kind"] == kind
    }


def pods(found: list[Manifest]) -> Iterator[Manifest]:
    for kind in ("Deployment", "Job"):
        yield from (one["spec"]["template"] for one in of_kind(found, kind).values())


async def test_chart_without_a_secret_fails(ship: Path) -> None:
    code, printed = await rendered(ship, {})
    assert code == 1
    assert "existingSecret is empty: name a Secret with the key CLARION_DATABASE_URL" in printed
    [_line] = [line for line in printed.splitlines() if " INFO found symbolic link" not in line]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"settings": {"database": {"url": "postgresql://a:b@c/d"}}}, "put it into existingSecret"),
        ({"server": {"replica": 3}}, "replica"),
        ({"dispatcher": {"autoscaling": {"mode": "kedda"}}}, "mode"),
        ({"serverTls": {"serverSecret": "a"}}, "set both serverSecret and clientSecret, or neither"),
        ({"gateway": {"clientCaSecret": "a"}}, "set gateway.tlsSecret, too"),
        ({"gateway": {"clientCaSecret": "a", "tlsSecret": "b"}}, "set serverTls, too"),
        ({"otel": {"variables": {"CLARION_LOG_LEVEL": "debug"}}}, "CLARION_LOG_LEVEL"),
    ],
)
async def test_wrong_values_are_rejected(ship: Path, values: dict[str, Any], text: str) -> None:
    code, printed = await rendered(ship, {**SECRET, **values})
    assert code == 1
    assert text in printed


@pytest.mark.parametrize("values", [SECRET, EVERYTHING], ids=["default", "everything"])
async def test_kubernetes_accepts_the_manifests(ship: Path, tmp_path: Path, values: dict[str, Any]) -> None:
    modes = ("hook", "job", "none")
    for mode in modes:
        found = await manifests(ship, {**values, "migrate": {"mode": mode}})
        assert bool(of_kind(found, "Job")) is (mode != "none")
        known = [one for one in found if one["kind"] not in CUSTOM]
        file = tmp_path / f"{mode}.yaml"
        file.write_text(yaml.safe_dump_all(known))
    files = [tmp_path / f"{mode}.yaml" for mode in modes]
    for version in KUBERNETES:
        options = ("--kubernetes-version", version, "--strict")
        done = await run_program(
            ship / "kubernetes-validate", *options, *files, folder=tmp_path, env={**os.environ}
        )
        assert done.code == 0, done.out + done.err


async def test_kill_times_follow_the_settings(ship: Path) -> None:
    default = of_kind(await manifests(ship, SECRET), "Deployment")
    other = of_kind(await manifests(ship, EVERYTHING), "Deployment")
    name = "terminationGracePeriodSeconds"
    times = {role: (default[role], other[role]) for role in default}
    found = {
        role: tuple(one["spec"]["template"]["spec"][name] for one in both) for role, both in times.items()
    }
    # lame_duck + shutdown_grace + 5; shutdown_grace + 5; preStop + drain_grace + drain_timeout + 5
    assert found == {"server": (12, 16), "dispatcher": (30, 65), "gateway": (31, 57), "portal": (12, 12)}


@pytest.mark.parametrize("values", [SECRET, EVERYTHING], ids=["default", "everything"])
async def test_processes_accept_their_settings(ship: Path, tmp_path: Path, values: dict[str, Any]) -> None:
    found = await manifests(ship, values)
    file = tmp_path / "clarion.toml"
    file.write_text(of_kind(found, "ConfigMap")["settings"]["data"]["clarion.toml"])
    for pod in pods(found):
        [container] = pod["spec"]["containers"]
        variables = {one["name"]: one.get("value", "postgresql://x/y") for one in container["env"]}
        settings = load(file, variables)
        ports = {one["containerPort"] for one in container.get("ports", ())}
        if container["name"] == "gateway":
            assert settings.gateway.upstreams == ("shop-clarion-server:8081",)
            assert settings.gateway.port in ports
            settings.gateway.require_trusted()
    if values is EVERYTHING:
        assert settings.server.max_pending == 5000
        assert settings.providers["smtp"]["port"] == 587


async def test_pods_are_locked_down(ship: Path) -> None:
    for pod in pods(await manifests(ship, EVERYTHING)):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert not spec["automountServiceAccountToken"]
        [container] = spec["containers"]
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert not security["allowPrivilegeEscalation"]


async def test_selectors_and_ports_match_pods(ship: Path) -> None:
    """A wrong label or port name is valid for Kubernetes, and does nothing."""
    found = await manifests(ship, EVERYTHING)
    templates = [pod["metadata"]["labels"] for pod in pods(found)]
    text = yaml.safe_dump_all(found)
    assert text.count("matchLabels") > 10
    selectors = [one["spec"]["selector"] for one in of_kind(found, "Service").values()]
    selectors += [labels for one in found for labels in match_labels(one.get("spec", {}))]
    for labels in selectors:
        assert any(labels.items() <= each.items() for each in templates), labels
    for pod in pods(found):
        [container] = pod["spec"]["containers"]
        ports = {one[key] for one in container.get("ports", ()) for key in ("name", "containerPort")}
        used = re.findall(r"'port': '?(\w+)'?", str({k: v for k, v in container.items() if "Probe" in k}))
        assert {int(one) if one.isdecimal() else one for one in used} <= ports


def match_labels(value: Any) -> Iterator[dict[str, str]]:
    """Yield what each `matchLabels` in a manifest selects, except the monitor's, which selects services."""
    if isinstance(value, dict):
        if "matchLabels" in value and "app.kubernetes.io/component" in value["matchLabels"]:
            yield value["matchLabels"]
        for inner in value.values():
            yield from match_labels(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from match_labels(inner)


async def test_alerts_and_dashboards_are_complete(ship: Path) -> None:
    found = await manifests(ship, EVERYTHING)
    folder = ROOT / "deploy/observability"
    alerts = yaml.safe_load((folder / "alerts.yml").read_text(encoding="utf-8"))
    assert of_kind(found, "PrometheusRule")["alerts"]["spec"] == alerts
    maps = {
        name: json.loads(text)
        for one in of_kind(found, "ConfigMap").values()
        for name, text in one["data"].items()
        if name.endswith(".json")
    }
    dashboards = {f"clarion-{file.name}": json.loads(file.read_text()) for file in folder.glob("*/*.json")}
    assert maps == dashboards
    assert len(maps) > 3


async def test_every_process_is_scraped(ship: Path) -> None:
    """The monitor selects services by their labels, and their port by its name."""
    found = await manifests(ship, EVERYTHING)
    [monitor] = of_kind(found, "ServiceMonitor").values()
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    [port] = [one["port"] for one in monitor["spec"]["endpoints"]]
    components = {
        one["spec"]["selector"]["app.kubernetes.io/component"]
        for one in of_kind(found, "Service").values()
        if wanted <= one["metadata"]["labels"].items()
        and port in {each["name"] for each in one["spec"]["ports"]}
    }
    assert components == {"server", "dispatcher", "gateway", "portal"}


async def test_processes_with_spans_get_the_variables(ship: Path) -> None:
    found = await manifests(ship, EVERYTHING)
    otel = EVERYTHING["otel"]
    for role, one in of_kind(found, "Deployment").items():
        [container] = one["spec"]["template"]["spec"]["containers"]
        variables = {each["name"]: each["value"] for each in container["env"] if "value" in each}
        secrets = [each["secretRef"]["name"] for each in container.get("envFrom", ())]
        records = role != "portal"
        given = {name: str(value) for name, value in otel["variables"].items()}
        assert (given.items() <= variables.items()) is records
        assert (otel["existingSecret"] in secrets) is records
    egress = of_kind(found, "NetworkPolicy")["gateway"]["spec"]["egress"]
    assert {"ports": [{"port": otel["port"]}]} in egress
    without = of_kind(await manifests(ship, SECRET), "NetworkPolicy")["gateway"]["spec"]["egress"]
    assert [one for one in egress if one not in without] == [{"ports": [{"port": otel["port"]}]}]


async def test_migration_hook_needs_only_what_exists(ship: Path) -> None:
    """A hook runs before the release's own objects, such as the settings, exist."""
    [job] = of_kind(await manifests(ship, SECRET), "Job").values()
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert "configMap" not in json.dumps(job)


async def test_autoscalers_use_a_metric_that_exists(ship: Path) -> None:
    for mode in ("hpa", "keda"):
        found = await manifests(ship, {**SECRET, "dispatcher": {"autoscaling": {"mode": mode}}})
        assert "clarion_oldest_due_seconds" in json.dumps(found)
        assert "replicas" not in of_kind(found, "Deployment")["dispatcher"]["spec"]
    assert "`clarion_oldest_due_seconds`" in (ROOT / "docs/reference/metrics.md").read_text()


async def test_chart_has_the_version_of_the_product() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert chart["appVersion"] == version[1]
    assert chart["version"] == re.sub(r"\.dev(\d+)$", r"-dev.\1", version[1])
