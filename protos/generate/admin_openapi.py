"""The OpenAPI document of the admin API, whose calls are all transcoded from typed messages."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor

from clarion.admin.v1 import options_pb2

from .admin_examples import Examples
from .described import Binding, Described, bindings, sentence
from .event_stream import event_stream
from .openapi import LICENCE, SERVERS, parameters
from .reasons import reasons_of
from .responses import Responses, header_components, headers
from .rules import rules_of
from .schemas import Schema, Schemas, ref

__all__ = ["build", "is_open", "needs", "role_of"]

SCHEME = "admin_key"
JSON, EVENT_STREAM = "application/json", "text/event-stream"
# Their .pyi file predates typed extensions.
REQUIRED_ROLE: Any = options_pb2.required_role
IS_OPEN: Any = options_pb2.is_open
ABOUT = """\
The admin API is for operators and their programs. The portal and the command line are its clients.

Every call needs an admin key, `Authorization: Bearer ak_…`, or the token of a session, `as_…`. An API \
key (`sk_…`) cannot call it, nor can an admin key trigger campaigns. Each call needs a role, `viewer`, \
`operator`, `author` or `admin`, each of which includes those before it. A key has its roles for all \
projects or for some: lists contain what the caller may see, and what it may not see is 404 \
`RESOURCE_NOT_FOUND`.

Every change is recorded in the audit log. Resources have an `etag`: send the one that you have read \
with a change, and the change fails with 409 `ETAG_MISMATCH` instead of overwriting a newer one. Lists \
have pages: repeat the call with the `next_page_token` as `page_token` until there is none.

Bodies may have up to 64 KiB. Errors have the same body as in the API for callers: a `google.rpc.Status` \
with one ErrorInfo, whose `reason` is stable."""


def build(described: Described, version: str) -> dict[str, Any]:
    """Return the document."""
    schemas, responses, examples = Schemas(described), Responses(described), Examples(described)
    paths: dict[str, dict[str, Any]] = {}
    for binding in bindings(described):
        operation = {
            **_texts(described, binding),
            "parameters": parameters(described, schemas, binding),
            **_request_body(described, schemas, examples, binding),
            "responses": {
                **_success(described, schemas, examples, binding),
                **responses.of_call(reasons_of(described, binding)),
            },
        }
        paths.setdefault(binding.path, {})[binding.verb] = operation
    about = "An admin key, or the token of a session."
    key = {"type": "http", "scheme": "bearer", "bearerFormat": "ak_ and a UUID", "description": about}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Clarion admin API", "version": version, "description": ABOUT, **LICENCE},
        "servers": SERVERS,
        "tags": [{"name": one.name, "description": described.comment(one)} for one in described.services],
        "security": [{SCHEME: []}],
        "paths": paths,
        "components": {
            "securitySchemes": {SCHEME: key},
            "schemas": {**schemas.components, **responses.schemas()},
            "responses": responses.components,
            "headers": header_components("www-authenticate", "retry-after"),
            "examples": responses.examples(),
        },
    }


def needs(method: MethodDescriptor) -> str:
    """Return what a method's caller needs, as a sentence."""
    if is_open(method):
        return "Needs no credentials."
    role = role_of(method)
    return f"Needs the role `{role}`." if role else "Needs an admin key or a session, with any role."


def is_open(method: MethodDescriptor) -> bool:
    """Return whether everyone may call a method."""
    return bool(method.GetOptions().Extensions[IS_OPEN])


def role_of(method: MethodDescriptor) -> str:
    """Return the role that a method needs; empty if any caller with valid credentials may call it."""
    return str(method.GetOptions().Extensions[REQUIRED_ROLE])


def _texts(described: Described, binding: Binding) -> dict[str, Any]:
    method = binding.method
    summary, more = sentence(described.comment(method))
    role = role_of(method)
    return {
        "operationId": f"{binding.service.name}_{method.name}",
        "tags": [binding.service.name],
        "summary": summary,
        "description": f"{more}\n\n{needs(method)}".lstrip(),
        "security": [] if is_open(method) else [{SCHEME: []}],
        **({"x-required-role": role} if role else {}),
    }


def _request_body(
    described: Described, schemas: Schemas, examples: Examples, binding: Binding
) -> dict[str, Any]:
    """Return the body, which has all fields that are not in the path."""
    if not binding.body:
        return {}
    message = binding.method.input_type
    fields = [field for field in message.fields if field.name not in binding.variables]
    name = f"{binding.method.name}Body"
    schemas.components[name] = {**_closed(schemas, fields), "description": described.comment(message)}
    shown = {key: one for key, one in examples.request(message).items() if key not in binding.variables}
    return {"requestBody": {"required": True, "content": {JSON: {"schema": ref(name), "example": shown}}}}


def _closed(schemas: Schemas, fields: list[FieldDescriptor]) -> Schema:
    required = [field.name for field in fields if rules_of(field).required]
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {field.name: schemas.field(field) for field in fields},
        **({"required": required} if required else {}),
    }


def _success(described: Described, schemas: Schemas, examples: Examples, binding: Binding) -> dict[str, Any]:
    message = binding.method.output_type
    schema, about = schemas.message(message), described.comment(message)
    if binding.method.server_streaming:
        content: dict[str, Any] = {EVENT_STREAM: {"schema": event_stream(schema)}}
        about = f"Server-sent events, each with a {message.name} as its data."
    else:
        content = {JSON: {"schema": schema, "example": examples.response(message)}}
    return {"200": {"description": about, "headers": headers(), "content": content}}
