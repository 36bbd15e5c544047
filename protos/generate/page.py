"""Renders the OpenAPI document as one HTML page, without scripts and external resources."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from liquid import Environment, StrictUndefined
from markupsafe import Markup, escape

from .described import Described
from .event_stream import data_of
from .examples import DEMO_CAMPAIGNS, QUERIES, error_body
from .reasons import Reason, phrase, reasons_in
from .schemas import Schema

__all__ = ["ONE_OF", "members_of", "render"]

TEMPLATE = Path(__file__).with_name("page.html")
JSON = "application/json"
FORMATS = {"idn-email": "email address", "date-time": "RFC 3339", "uuid": "UUID", "int64": "64-bit integer"}
CODE = re.compile("`([^`]+)`")
ONE_OF = "one of these is required"
"""What a member is that others can replace."""

Document = Mapping[str, Any]
CLIENT_PAGE = {
    "document": "openapi.json",
    "other": "docs/admin",
    "about_other": "admin API",
    "key": "API key",
    "demo_key": "demo-key",
}
ADMIN_PAGE = {
    "document": "../openapi/admin.json",
    "other": "../docs",
    "about_other": "API for callers",
    "key": "admin key",
    "demo_key": "demo-admin-key",
}
"""What differs between the pages at `/docs` and `/docs/admin`, to which the links are relative."""


def render(document: Document, described: Described) -> str:
    """Return the page of one API.

    Args:
        document: Its OpenAPI document.
        described: Its descriptors.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"prose": _prose, "inline": _inline}
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        info=document["info"],
        own=ADMIN_PAGE if described.is_admin else CLIENT_PAGE,
        common=_common(document),
        groups=[group for tag in document["tags"] if (group := _group(document, tag))["calls"]],
        webhooks=[_webhook(name, verbs["post"]) for name, verbs in document.get("webhooks", {}).items()],
        reasons=[_reason(reason) for reason in reasons_in(described).values() if reason.statuses],
        schemas=[
            _schema(document, name, schema) for name, schema in document["components"]["schemas"].items()
        ],
    )


def _group(document: Document, tag: Mapping[str, str]) -> dict[str, Any]:
    """Return a service and its calls."""
    calls = [
        _call(document, path, verb, operation)
        for path, verbs in document["paths"].items()
        for verb, operation in verbs.items()
        if tag["name"] in operation["tags"]
    ]
    return {**tag, "calls": calls}


def _webhook(name: str, operation: Document) -> dict[str, Any]:
    body = operation["requestBody"]["content"][JSON]
    link = _link(body["schema"])
    return {"name": name, "id": operation["operationId"], "summary": operation["summary"], "link": link}


def _call(document: Document, path: str, verb: str, operation: Document) -> dict[str, Any]:
    answers = operation["responses"]
    body = operation.get("requestBody", {}).get("content", {}).get(JSON, {})
    examples = [
        {
            "summary": one["summary"],
            "curl": _curl(_filled(path, name), verb, operation, one["value"]),
        }
        for name, one in body.get("examples", {}).items()
    ]
    only = [{"summary": "Try it", "curl": _curl(path, verb, operation, body.get("example"))}]
    return {
        "id": operation["operationId"],
        "verb": verb.upper(),
        "path": path,
        "summary": operation["summary"],
        "description": operation["description"],
        "parameters": [_parameter(one) for one in operation.get("parameters", [])],
        "about_body": _resolve(document, body["schema"])["description"] if body else "",
        "body": members_of(document, body["schema"]) if body else [],
        "examples": examples or only,
        "answers": [_answer(document, int(s), one) for s, one in answers.items() if "$ref" not in one],
        "common": [status for status, one in answers.items() if "$ref" in one],
    }


def _common(document: Document) -> list[dict[str, Any]]:
    """Return the error responses that calls share, each once."""
    shared = {
        int(status): answer
        for verbs in document["paths"].values()
        for operation in verbs.values()
        for status, answer in operation["responses"].items()
        if "$ref" in answer
    }
    return [_answer(document, status, shared[status]) for status in sorted(shared)]


def _parameter(parameter: Document) -> dict[str, Any]:
    where = f"in the {parameter['in']}"
    needed = "required" if parameter["required"] else ""
    kind = _type(parameter["schema"])
    words = [where, *_limits(parameter["schema"])]
    return {**_member(parameter["name"], kind, needed, words), "description": parameter["description"]}


def members_of(document: Document, schema: Schema, prefix: str = "") -> list[dict[str, Any]]:
    """Return the members of an object and of its nested objects, each with its path."""
    found = _resolve(document, schema)
    choices = {
        name: one
        for any_of in found.get("if", {}).get("anyOf", [])
        for name, one in any_of["properties"].items()
    }
    members = []
    for name, member in found.get("properties", {}).items():
        needed = "required" if name in found.get("required", []) else ""
        needed = ONE_OF if name in choices else needed
        target = _resolve(document, {**member, **choices.get(name, {})})
        shown = _member(f"{prefix}{name}", _type(target), needed, _limits(target))
        members.append({**shown, "description": member.get("description") or target["description"]})
        if "$ref" in member and prefix == "":
            members += members_of(document, member, f"{name}.")
    return members


def _member(name: str, kind: str, needed: str, limits: list[str]) -> dict[str, Any]:
    return {"name": name, "type": kind, "needed": needed, "limits": limits}


def _schema(document: Document, name: str, schema: Schema) -> dict[str, Any]:
    members = []
    for member, one in schema.get("properties", {}).items():
        needed = "always present" if member in schema.get("required", []) else ""
        description = one.get("description") or _resolve(document, one)["description"]
        shown = _member(member, _type(one), needed, _limits(one))
        # A reference shows only the first paragraph, because the list of values is shown once, at its target.
        members.append({**shown, "description": description.partition("\n\n")[0], "link": _link(one)})
    return {"name": name, "description": schema["description"], "members": members}


def _answer(document: Document, status: int, answer: Document) -> dict[str, Any]:
    found = _resolve(document, answer)
    content: dict[str, Any] = next(iter(found.get("content", {}).values()), {})
    schema = content.get("schema", {})
    reasons = list(content.get("examples", {}))
    return {
        "status": status,
        "phrase": phrase(status),
        "description": "" if reasons else found["description"],
        "reasons": reasons,
        "headers": [name for name in found["headers"] if name != "x-request-id"],
        "example": _pretty(content["example"]) if "example" in content else "",
        "link": _link(data_of(schema)),
    }


def _reason(reason: Reason) -> dict[str, Any]:
    return {
        "name": reason.name,
        "statuses": [{"status": status, "phrase": phrase(status)} for status in reason.statuses],
        "code": reason.code_name,
        "happened": reason.happened,
        "to_do": reason.to_do,
        "retry": reason.retry,
        "example": _pretty(error_body(reason)),
    }


def _filled(path: str, channel: str) -> str:
    """Return a path with the ID of a demo campaign of this channel, if the demo has one."""
    return path.replace("{campaign_id}", DEMO_CAMPAIGNS.get(channel, "{campaign_id}"))


def _curl(path: str, verb: str, operation: Document, body: object) -> str:
    for parameter in operation.get("parameters", []):
        path = path.replace(f"{{{parameter['name']}}}", str(parameter["example"]))
    method = "" if verb == "get" or body is not None else f" -X {verb.upper()}"
    streams = "N" if "text/event-stream" in operation["responses"].get("200", {}).get("content", {}) else ""
    url = f"$AT{path}{QUERIES.get(operation['operationId'], '')}"
    lines = [f'curl -i{streams}{method} "{url}"']
    if operation["security"]:
        lines.append('-H "Authorization: Bearer $KEY"')
    if body is not None:
        lines += [f"-H 'Content-Type: {JSON}'", f"-d '{json.dumps(body, ensure_ascii=False)}'"]
    return " \\\n  ".join(lines)


def _resolve(document: Document, schema: Document) -> dict[str, Any]:
    """Follow a reference. Keywords next to it override those of its target."""
    if "$ref" not in schema:
        return dict(schema)
    found: Any = document
    for step in schema["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return {**found, **{name: one for name, one in schema.items() if name != "$ref"}}


def _link(schema: Schema) -> str:
    """Return the name of the component that a schema or its items refer to, if any."""
    target = schema.get("$ref") or schema.get("items", {}).get("$ref", "")
    return str(target).rpartition("/")[2]


def _type(schema: Schema) -> str:
    """Return a schema's type in words."""
    if "$ref" in schema:
        return _link(schema)
    if "const" in schema:
        return f'"{schema["const"]}"'
    if "type" not in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if schema["type"] == "array":
        items = schema["items"]
        return f"array of {_type(items)}" if "oneOf" not in items else "array"
    return str(schema["type"])


def _limits(schema: Schema) -> list[str]:
    """Return a schema's constraints in words."""
    found = []
    if "format" in schema:
        found.append(FORMATS.get(str(schema["format"]), str(schema["format"])))
    if "maxLength" in schema or schema.get("minLength", 1) > 1:
        found.append(f"{_range(schema, 'minLength', 'maxLength')} characters")
    if "minimum" in schema or "maximum" in schema:
        found.append(_range(schema, "minimum", "maximum"))
    if "pattern" in schema:
        found.append(f"`{schema['pattern']}`")
    return found


def _range(schema: Schema, least: str, most: str) -> str:
    if most not in schema:
        return f"at least {schema[least]:,}"
    return f"{schema[least]:,} to {schema[most]:,}" if least in schema else f"at most {schema[most]:,}"


def _pretty(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def _prose(text: object) -> Markup:
    """Convert the Markdown that comments use to HTML: paragraphs, lists, `code`."""
    blocks = re.split(r"\n\s*\n", str(text))
    return Markup("").join(_block(block) for block in blocks)


def _block(block: str) -> Markup:
    lines = block.splitlines()
    if all(line.startswith("    ") for line in lines):
        return Markup("<pre>{}</pre>").format("\n".join(line[4:] for line in lines))
    if all(line.startswith("- ") for line in lines):
        items = Markup("").join(Markup("<li>{}</li>").format(_inline(line[2:])) for line in lines)
        return Markup("<ul>{}</ul>").format(items)
    return Markup("<p>{}</p>").format(_inline(block))


def _inline(text: str) -> Markup:
    # The text is escaped before the only tag is inserted.
    return Markup(CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704
