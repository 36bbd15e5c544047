"""Runs schemathesis on an OpenAPI document, and reads what it sent and received."""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import tomlkit

from tests.kit.commands import run_program

__all__ = ["Run", "run_schemathesis", "unsuccessful"]

_COMMAND = Path(sys.executable).with_name("schemathesis")
_CHECKS = (
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
_PHASES = ("examples", "coverage", "fuzzing")
_OPTIONS = (
    *("--phases", ",".join(_PHASES), "--generation-deterministic", "--no-color", "--continue-on-failure"),
    *("--warnings", "off", "--output-truncate", "false", "--checks", ",".join(_CHECKS)),
)


@dataclass(frozen=True)
class Run:
    """What schemathesis came to, what it printed, and the method, path and answer of each of its calls."""

    code: int
    out: str
    calls: list[tuple[str, str, httpx.Response]]


async def run_schemathesis(
    document: Mapping[str, Any],
    url: str,
    secret: str,
    ids: Mapping[str, list[str]],
    folder: Path,
    *,
    operations: list[dict[str, Any]],
    excluded: tuple[str, ...] = (),
    examples: int = 20,
    seconds: float = 600,
) -> Run:
    """Run schemathesis once.

    Args:
        document: The OpenAPI document.
        url: The gateway.
        secret: The key of its calls.
        ids: What exists, for the parameters of paths; chance would never find any of it.
        folder: Where to write.
        operations: Settings of single operations.
        excluded: Paths that it does not call.
        examples: The most calls that are made up for an operation.
        seconds: When to give up.
    """
    settings = {
        "phases": {phase: {"extra-data-sources": {"responses": False}} for phase in _PHASES},
        "headers": {"Authorization": f"Bearer {secret}"},
        "dictionaries": {name: {"values": values} for name, values in ids.items()},
        "parameters": {f"path.{name}": {"dictionary": name, "probability": 0.5} for name in ids},
        "operations": operations,
    }
    (folder / "openapi.json").write_text(json.dumps(document))
    (folder / "schemathesis.toml").write_text(tomlkit.dumps(settings))
    done = await run_program(
        *(_COMMAND, "run", "openapi.json", "--url", url, *_OPTIONS),
        *("--max-examples", str(examples), "--report-har-path", "calls.har"),
        *(word for path in excluded for word in ("--exclude-path", path)),
        folder=folder,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
        seconds=seconds,
    )
    archive, printed = folder / "calls.har", done.out + done.err
    assert archive.exists(), printed
    return Run(done.code, printed, _calls(json.loads(archive.read_text())))


def unsuccessful(run: Run, document: Mapping[str, Any], excluded: tuple[str, ...] = ()) -> set[str]:
    """Return the operations of which no call succeeded."""
    succeeded = defaultdict(set)
    for method, path, answer in run.calls:
        if answer.is_success:
            succeeded[method].add(path)
    return {
        f"{method} {template}"
        for template, operations in document["paths"].items()
        if template not in excluded
        for method in operations
        if not any(_fits(path, template) for path in succeeded[method.upper()])
    }


def _calls(archive: dict[str, Any]) -> list[tuple[str, str, httpx.Response]]:
    """Return method, path and answer of all calls in an HTTP archive."""
    return [
        (entry["request"]["method"], httpx.URL(entry["request"]["url"]).path, _answer_of(entry["response"]))
        for entry in archive["log"]["entries"]
    ]


def _answer_of(recorded: dict[str, Any]) -> httpx.Response:
    headers = [(one["name"], one["value"]) for one in recorded["headers"]]
    content = recorded["content"].get("text", "").encode()
    return httpx.Response(recorded["status"], headers=headers, content=content)


def _fits(path: str, template: str) -> bool:
    """Return whether a path matches a template, in which a verb may follow a variable."""
    parts, wanted = path.split("/"), template.split("/")
    return len(parts) == len(wanted) and all(
        one == other or (other.startswith("{") and one.endswith(other.partition("}")[2]))
        for one, other in zip(parts, wanted, strict=True)
    )
