"""The Helm chart with TLS: files are where the settings say, and probes need no certificate."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.test_chart import EVERYTHING, SECRET, manifests, of_kind

pytestmark = pytest.mark.long


async def test_certificates_are_where_the_settings_say(ship: Path) -> None:
    found = of_kind(await manifests(ship, EVERYTHING), "Deployment")
    secrets = {
        "server": {"server-tls": "servers", "files": "keys"},
        "gateway": {"server-tls": "gateways", "tls": "tls", "callers": "callers"},
        "portal": {"server-tls": "gateways"},
    }
    files = {"server": 3, "gateway": 6, "portal": 3}
    for role, expected in secrets.items():
        spec = found[role]["spec"]["template"]["spec"]
        [container] = spec["containers"]
        volumes = {one["name"]: one["secret"]["secretName"] for one in spec["volumes"] if "secret" in one}
        assert volumes == expected
        folders = {one["mountPath"] for one in container["volumeMounts"] if one["name"] in volumes}
        paths = [Path(one["value"]) for one in container["env"] if "_TLS_" in one["name"]]
        assert len(paths) == files[role]
        assert {str(one.parent) for one in paths} <= folders
        assert {one.name for one in paths} <= {"tls.crt", "tls.key", "ca.crt"}


async def test_probes_of_servers_with_tls_need_no_certificate(ship: Path) -> None:
    """Without its database, a server is not ready but alive, with and without TLS."""
    for values, ready in (
        (SECRET, {"grpc": {"port": 8081, "service": "clarion.v1.TriggerService"}}),
        (EVERYTHING, {"exec": {"command": ["clarion", "health", "server"]}}),
    ):
        found = of_kind(await manifests(ship, values), "Deployment")["server"]
        [container] = found["spec"]["template"]["spec"]["containers"]
        assert ready.items() <= container["readinessProbe"].items()
        for name in ("startupProbe", "livenessProbe"):
            assert "exec" not in container[name]
            assert ("grpc" in container[name]) is (values is SECRET)
