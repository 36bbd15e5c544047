"""The environment of child processes: only what each of them reads."""

from __future__ import annotations

import pytest

from gateway import basic_environment
from server.up.environment import DISPATCHER, GATEWAY, PORTAL, SERVER, child_environment

GIVEN = {
    "PATH": "/bin",
    "LC_ALL": "C",
    "PYTHONUNBUFFERED": "1",
    "PGSSLROOTCERT": "ca.pem",
    "AWS_SECRET_ACCESS_KEY": "s1",
    "CLARION_API_KEY": "s2",
    "CLARION_DATA_DIR": "data",
    "CLARION_DATABASE_URL": "postgresql://clarion:s3@db/clarion",
    "CLARION_GATEWAY_PORT": "8090",
    "CLARION_LOG_LEVEL": "debug",
    "CLARION_PROVIDERS_SMTP_PASSWORD": "s4",
    "CLARION_PROVIDERS_SMTP_TYPE": "smtp",
    "CLARION_SERVER_DEADLINE": "3",
    "CLARION_WEBHOOKS_ALLOW": "10.0.0.0/8",
}


@pytest.mark.parametrize(
    ("sections", "secrets"),
    [(SERVER, {"s3"}), (DISPATCHER, {"s3", "s4"}), (GATEWAY, set()), (PORTAL, set())],
    ids=["server", "dispatcher", "gateway", "portal"],
)
def test_secrets_reach_only_their_readers(sections: frozenset[str], secrets: set[str]) -> None:
    text = str(child_environment(sections, GIVEN))
    assert {secret for secret in ("s1", "s2", "s3", "s4") if secret in text} == secrets


def test_settings_reach_their_readers() -> None:
    assert child_environment(GATEWAY, GIVEN) == {
        "PATH": "/bin",
        "LC_ALL": "C",
        "PYTHONUNBUFFERED": "1",
        "CLARION_DATA_DIR": "data",
        "CLARION_GATEWAY_PORT": "8090",
        "CLARION_LOG_LEVEL": "debug",
        "CLARION_PROVIDERS_SMTP_TYPE": "smtp",
    }


def test_envoy_gets_no_settings() -> None:
    assert basic_environment(GIVEN) == {"PATH": "/bin", "LC_ALL": "C"}
