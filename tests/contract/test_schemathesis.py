"""The published OpenAPI document against the real gateway: what it says is what is answered."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import tomlkit

from server.domain.key import Scope, new_secret
from server.store.admin import keys, projects
from server.store.pool import Pool
from tests.contract.conftest import Keys
from tests.kit.documented_errors import check_rest
from tests.kit.stack import EXAMPLE, Stack

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("contract")]

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "ignored_auth",
    "allow_header_conformance",
)
# Without the stateful phase and without ids from answers: ListApiKeys shows the key in use to RevokeApiKey.
# Not positive_data_acceptance: which address a campaign needs no schema of one request can say.
# Not unsupported_method: a method that Envoy has no name for is malformed HTTP, so 400 and not 405.
# Of a batch, an item that breaks the schema is refused within a 200.
BATCH = "POST /api/client/triggers:batch"
PHASES = ("examples", "coverage", "fuzzing")
# Schemathesis cannot check an endless stream: see test_following.py.
ENDLESS = "/api/client/triggers:watch"
OPTIONS = (
    *("--exclude-path", ENDLESS),
    *("--phases", ",".join(PHASES), "--max-examples", "20"),
    *("--generation-deterministic", "--no-color", "--continue-on-failure"),
    *("--warnings", "off", "--output-truncate", "false", "--checks", ",".join(CHECKS)),
)


@dataclass(frozen=True)
class Run:
    """What schemathesis came to, what it printed, and the method, path and answer of each of its calls."""

    code: int
    out: str
    calls: list[tuple[str, str, httpx.Response]]


@pytest.fixture(scope="module")
async def document(http: httpx.AsyncClient) -> dict[str, Any]:
    """Return what the gateway publishes."""
    answer = await http.get("/openapi.json")
    assert answer.status_code == 200
    return dict(answer.json())


@pytest.fixture(scope="module")
async def ids(http: httpx.AsyncClient, stack: Stack, pool: Pool) -> dict[str, list[str]]:
    """Return what there is, for the paths' parameters; chance would never find any of it."""
    waiting = {**EXAMPLE, "send_at": (dt.datetime.now(dt.UTC) + dt.timedelta(days=1)).isoformat()}
    posted = await http.post("/api/client/campaigns/44/trigger", json=waiting, headers=stack.headers())
    project = await projects.ensure_project(pool, "demo")
    unused = await keys.create_key(
        pool, new_secret(), project_id=project, name="unused", scopes={Scope.TRIGGER}
    )
    return {
        "campaign_id": ["44", "45", "46"],
        "trigger_id": [posted.headers["x-trigger-id"]],
        "key_id": [str(unused.id)],
    }


@pytest.fixture(scope="module")
async def run(
    document: dict[str, Any],
    ids: dict[str, list[str]],
    stack: Stack,
    secrets: Keys,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    """Run schemathesis once."""
    folder = tmp_path_factory.mktemp("schemathesis")
    settings = {
        "phases": {phase: {"extra-data-sources": {"responses": False}} for phase in PHASES},
        "headers": {"Authorization": f"Bearer {secrets.reads}"},
        "dictionaries": {name: {"values": values} for name, values in ids.items()},
        "parameters": {f"path.{name}": {"dictionary": name, "probability": 0.5} for name in ids},
    }
    refused_or_200 = {"expected-statuses": ["200", "4xx", "5xx"]}
    settings["operations"] = [{"include-name": BATCH, "checks": {"negative_data_rejection": refused_or_200}}]
    (folder / "openapi.json").write_text(json.dumps(document))
    (folder / "schemathesis.toml").write_text(tomlkit.dumps(settings))
    process = await asyncio.create_subprocess_exec(
        *(str(SCHEMATHESIS), "run", "openapi.json", "--url", stack.url, *OPTIONS),
        *("--report-har-path", "calls.har"),
        cwd=folder,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(90):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    archive = folder / "calls.har"
    assert archive.exists(), out.decode()
    assert process.returncode is not None
    return Run(process.returncode, out.decode(), calls(json.loads(archive.read_text())))


def test_responses_match_the_document(run: Run) -> None:
    assert run.code == 0, run.out


def test_each_documented_operation_succeeds(run: Run, document: dict[str, Any]) -> None:
    succeeded = defaultdict(set)
    for method, path, answer in run.calls:
        if answer.is_success:
            succeeded[method].add(path)
    for template, operations in document["paths"].items():
        if template == ENDLESS:
            continue
        for method in operations:
            paths = succeeded[method.upper()]
            assert any(fits(path, template) for path in paths), f"{method} {template}: {paths}"


async def test_keys_in_use_were_not_revoked(
    run: Run, http: httpx.AsyncClient, stack: Stack, secrets: Keys
) -> None:
    for secret in (secrets.good, secrets.reads):
        answer = await http.get("/api/client/campaigns", headers=stack.headers(secret))
        assert answer.status_code == 200


def test_every_error_is_documented(run: Run) -> None:
    refusals = [answer for _, _, answer in run.calls if answer.is_error]
    assert len(refusals) > 50
    for refusal in refusals:
        check_rest(refusal)


def calls(archive: dict[str, Any]) -> list[tuple[str, str, httpx.Response]]:
    """Return method, path and answer of all calls in an HTTP archive."""
    return [
        (entry["request"]["method"], httpx.URL(entry["request"]["url"]).path, answer_of(entry["response"]))
        for entry in archive["log"]["entries"]
    ]


def answer_of(recorded: dict[str, Any]) -> httpx.Response:
    headers = [(one["name"], one["value"]) for one in recorded["headers"]]
    content = recorded["content"].get("text", "").encode()
    return httpx.Response(recorded["status"], headers=headers, content=content)


def fits(path: str, template: str) -> bool:
    """Return whether a path matches a template."""
    parts, wanted = path.split("/"), template.split("/")
    return len(parts) == len(wanted) and all(
        one == other or other.startswith("{") for one, other in zip(parts, wanted, strict=True)
    )
