"""docs/reference/errors.md, from error_reason.proto."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from .described import Described
from .examples import error_body
from .reasons import Reason, phrase, reasons, violation_reasons

__all__ = ["render"]

HEAD = """\
# Errors

<!-- Made by `make proto` from protos/clarion/v1/error_reason.proto. -->

Every error has the same body, over REST as JSON and over gRPC in `grpc-status-details-bin`: a
`google.rpc.Status`.

```json
{example}
```

- `code` is the gRPC code's number.
- `message` is for people, and may change.
- `details` always hold one `ErrorInfo`. Its `reason` is stable: let your program decide by it, and by the
  violations' `reason`. Its `metadata` holds facts, such as the id that was not found.
- `BadRequest` lists everything that is wrong with a request at once, each with the path of its field. `field`
  is left out for the body as a whole.
- `RetryInfo`, where there is one, says how long to wait. The header `retry-after` says the same in whole
  seconds.

Where the HTTP itself ends early there is no body: see [the edge of HTTP](rest.md#at-the-edge-of-http). gRPC
clients then see `INTERNAL` or `UNAVAILABLE` without details, for metadata above 12 KiB for example, and
`RESOURCE_EXHAUSTED` for messages above 512 KiB.

## By status

| HTTP | gRPC | reason | send the same call again? |
|---|---|---|---|
"""


def render(described: Described) -> str:
    """Return the page."""
    found = reasons(described)
    example = json.dumps(error_body(found["INVALID_REQUEST"]), indent=2, ensure_ascii=False)
    parts = [
        HEAD.format(example=example) + "\n".join(_rows(found)),
        "## Reasons",
        *(_section(reason) for reason in found.values()),
        "## Violations",
        "The `reason` of each violation in a `BadRequest`:",
        "\n".join(["| reason | meaning |", "|---|---|", *_violations(violation_reasons(described))]),
    ]
    return "\n\n".join(parts) + "\n"


def _rows(found: Mapping[str, Reason]) -> Iterator[str]:
    """Yield a row for each status and reason, by status; those without a status last."""
    pairs = [(status, reason) for reason in found.values() for status in reason.statuses]
    for status, reason in sorted(pairs, key=lambda pair: pair[0]):
        yield _row(f"{status} {phrase(status)}", reason)
    for reason in found.values():
        if not reason.statuses:
            yield _row("", reason)


def _row(status: str, reason: Reason) -> str:
    link = f"[`{reason.name}`](#{reason.name.lower()})"
    retry = reason.retry.partition(":")[0].removesuffix(".")
    return f"| {status} | `{reason.code_name}` | {link} | {retry} |"


def _section(reason: Reason) -> str:
    statuses = ", ".join(f"{status} {phrase(status)}" for status in reason.statuses) or "gRPC only"
    facts = ", ".join(f"`{name}`" for name in sorted(reason.answer.example.metadata))
    lines = [
        f"### {reason.name}",
        "",
        f"*{statuses} · {reason.code_name}*",
        "",
        f"- **What happened:** {reason.happened}",
        f"- **What to do:** {reason.to_do}",
        f"- **Send the same call again?** {reason.retry}",
        *([f"- **Metadata:** {facts}"] if facts else []),
    ]
    return "\n".join(lines)


def _violations(meanings: Mapping[str, str]) -> Iterator[str]:
    for name, meaning in meanings.items():
        yield f"| `{name}` | {meaning} |"
