"""The OpenAPI document of the REST interface."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor, ServiceDescriptor

from .described import Binding, Described, bindings, example_of, sentence
from .examples import BATCH_BODY, BODIES, EVENTS, RESPONSES, TRIGGER_ID
from .reasons import reasons_of
from .responses import Responses, headers
from .rules import rules_of
from .schemas import Schemas
from .trigger_body import add_batch_body, add_trigger_body

__all__ = ["build", "scope_of"]

SCHEME = "api_key"
HTTP_BODY = "google.api.HttpBody"
JSON = "application/json"
EVENT_STREAM = "text/event-stream"
# The server checks this field itself, by the rule that the proto has on the other.
SAME_RULE = {"clarion.v1.TriggerCampaignRequest.campaign_id": ("GetCampaignRequest", "campaign_id")}
IN_HEADER = {
    "TriggerCampaign": (("Idempotency-Key", "TriggerEmailRequest", "request_id"),),
    "StreamTriggers": (("Last-Event-ID", "WatchTriggersRequest", "cursor"),),
}
"""Calls → header, and the message and field of which it takes the place."""
ABOUT_HEADERS = {
    "Idempotency-Key": "A key for this call: 1 to 255 printable ASCII characters without spaces, best a "
    "UUID. The same call again with the same key, within 24 hours, gets the first answer again, and nothing "
    "is sent twice. With other content it is refused (IDEMPOTENCY_KEY_REUSED).",
    "Last-Event-ID": "The id of the last event of an earlier stream, to go on from there. Readers of events "
    "send it by themselves. It counts for more than `cursor`.",
}
WRITTEN_BY_THE_SERVER = {"BatchTriggerCampaigns": "BatchTriggerResponse"}
"""Calls whose answer is bytes to the gateway → the message whose JSON they are."""
ABOUT = """\
Clarion takes campaign triggers, makes them durable, and delivers them by email, text message and push.

Every call under `/api` needs an API key: `Authorization: Bearer sk_…`. Every error has the same body, a \
`google.rpc.Status` with one ErrorInfo, whose `reason` is stable. A path that is not here answers \
404 `PATH_NOT_FOUND`; a method that a path does not take, 405 `METHOD_NOT_ALLOWED` with the header `allow` \
(one that HTTP does not know, 400 `HTTP_REFUSED`).

A body may have 64 KiB, that of a batch 2 MiB, the headers of a request 12 KiB and 100 in number, and an \
answer takes at most 10 seconds; then it is 504 `TIMED_OUT`. How many calls a key and its project may make \
is theirs: 429 tells. Each item of a batch counts as a call."""
OPERATIONS = "Operations"
# The gateway's own endpoints: path → operationId, summary, content type of a 200.
ENDPOINTS: dict[str, tuple[str, str, str]] = {
    "/healthz": ("Healthz", "Liveness probe: returns 200 whenever the gateway is up.", ""),
    "/readyz": ("Readyz", "Readiness probe: returns 200 if a server can accept calls.", ""),
    "/openapi.json": ("OpenApi", "Returns this document.", JSON),
    "/docs": ("Docs", "Returns this document as an HTML page.", "text/html"),
}


def build(described: Described, version: str) -> dict[str, Any]:
    """Return the document."""
    schemas, responses = Schemas(described), Responses(described)
    paths: dict[str, dict[str, Any]] = {}
    for binding in bindings(described):
        operation = _operation(described, schemas, responses, binding)
        paths.setdefault(binding.path, {})[binding.verb] = operation
    for path, (name, summary, kind) in ENDPOINTS.items():
        found = {"200": _found(kind), **responses.of_endpoint(path)}
        paths[path] = {"get": _open_operation(name, summary, found)}
    key = {"type": "http", "scheme": "bearer", "bearerFormat": "sk_ and a UUID", "description": "An API key."}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Clarion",
            "version": version,
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The gateway that this document comes from"}],
        "tags": _tags(described),
        "security": [{SCHEME: []}],
        "paths": paths,
        "components": {
            "securitySchemes": {SCHEME: key},
            "schemas": {**schemas.components, **responses.schemas()},
            "responses": responses.components,
            "examples": responses.examples(),
        },
    }


def scope_of(described: Described, service: ServiceDescriptor) -> str:
    """Return the scope that a service's calls need, which its comment names.

    Raises:
        LookupError: the comment does not name one.
    """
    _, found, rest = described.comment(service).partition("the scope `")
    if not found:
        raise LookupError(f"{service.full_name}: its comment must name `the scope` that a key needs")
    return rest.partition("`")[0]


def _operation(
    described: Described, schemas: Schemas, responses: Responses, binding: Binding
) -> dict[str, Any]:
    """Return the operation of one REST call."""
    summary, more = sentence(described.comment(binding.method))
    scope = scope_of(described, binding.service)
    body = _request_body(described, schemas, binding)
    errors = responses.of_call(reasons_of(described, binding))
    return {
        "operationId": f"{binding.service.name}_{binding.method.name}",
        "tags": [binding.service.name],
        "summary": summary,
        **({"deprecated": True} if binding.method.GetOptions().deprecated else {}),
        "description": f"{more}\n\nNeeds a key with the scope `{scope}`.".lstrip(),
        "security": [{SCHEME: [scope]}],
        "parameters": _parameters(described, schemas, binding),
        **({"requestBody": body} if body else {}),
        "responses": {
            **_answer(described, schemas, binding),
            **errors,
        },
    }


def _open_operation(name: str, summary: str, found: dict[str, Any]) -> dict[str, Any]:
    """Return an operation that needs no key."""
    return {
        "operationId": name,
        "tags": [OPERATIONS],
        "summary": summary,
        "description": "Needs no key.",
        "security": [],
        "responses": found,
    }


def _parameters(described: Described, schemas: Schemas, binding: Binding) -> list[dict[str, Any]]:
    """Return what the path and the query take; without a body, the query takes all that the path does not."""
    fields = binding.method.input_type.fields
    in_query = [] if binding.body else [f for f in fields if f.name not in binding.variables]
    in_path = [field for field in fields if field.name in binding.variables]
    in_header = IN_HEADER.get(binding.method.name, ())
    return [
        *(_header(described, schemas, *named) for named in in_header),
        *(_parameter(described, schemas, field, "path") for field in in_path),
        *(_parameter(described, schemas, field, "query") for field in in_query),
    ]


def _header(described: Described, schemas: Schemas, header: str, message: str, field: str) -> dict[str, Any]:
    """Return the header that carries over REST what a field carries over gRPC."""
    carried = described.message(message).fields_by_name[field]
    schema = schemas.field(carried)
    del schema["description"]
    schema = {**schema, "minLength": 1}
    return {
        "name": header,
        "in": "header",
        "required": False,
        "description": ABOUT_HEADERS[header],
        "schema": schema,
        "example": example_of(carried),
    }


def _parameter(described: Described, schemas: Schemas, field: FieldDescriptor, place: str) -> dict[str, Any]:
    ruled = field
    if field.full_name in SAME_RULE:
        message, name = SAME_RULE[field.full_name]
        ruled = described.message(message).fields_by_name[name]
    schema = schemas.field(ruled)
    description = schema.pop("description")
    if field.enum_type is not None:  # the transcoder takes numbers, too
        numbers = {"type": "integer", "minimum": 0, "maximum": field.enum_type.values[-1].number}
        schema = {"anyOf": [{"$ref": schema["$ref"]}, numbers]}
    return {
        "name": field.name,
        "in": place,
        "required": place == "path" or rules_of(ruled).required,
        "description": description,
        "schema": schema,
        "example": example_of(ruled),
    }


def _request_body(described: Described, schemas: Schemas, binding: Binding) -> dict[str, Any] | None:
    if not binding.body:
        return None
    message = binding.method.input_type
    if binding.body != "*":
        inner = message.fields_by_name[binding.body].message_type
        assert inner is not None  # noqa: S101 - protoc checks that a body is a message
        message = inner
    if message.full_name != HTTP_BODY:
        return {"required": True, "content": {JSON: {"schema": schemas.message(message)}}}
    schema = add_trigger_body(schemas, described, binding.service)
    if binding.method.name == "BatchTriggerCampaigns":
        batch = {"schema": add_batch_body(schemas, described), "example": BATCH_BODY}
        return {"required": True, "content": {JSON: batch}}
    examples = {name: {"summary": f"By {name}", "value": body} for name, body in BODIES.items()}
    return {"required": True, "content": {JSON: {"schema": schema, "examples": examples}}}


def _answer(described: Described, schemas: Schemas, binding: Binding) -> dict[str, Any]:
    """Return the good answer. If it is a trigger's id only, the gateway makes 204 with a header of it."""
    message = binding.method.output_type
    if message.fields[0].name == "trigger_id":
        replayed = "replayed" in message.fields_by_name
        said = "The trigger is on disk and will be sent." if replayed else described.comment(message)
        field = schemas.field(message.fields[0])
        header = {"description": field["description"], "required": True}
        uuid = {"schema": {"type": "string", "format": "uuid"}, "example": TRIGGER_ID}
        more = headers("location", "idempotency-replayed") if replayed else headers()
        return {
            "204": {
                "description": f"{said} The answer has no body.",
                "headers": {**more, "x-trigger-id": {**header, **uuid}},
            }
        }
    if binding.method.server_streaming:
        return _events(schemas, described)
    if message.full_name == HTTP_BODY:
        message = described.message(WRITTEN_BY_THE_SERVER[binding.method.name])
    content = {"schema": schemas.message(message), "example": RESPONSES[message.name]}
    description = described.comment(message)
    return {"200": {"description": description, "headers": headers(), "content": {JSON: content}}}


def _events(schemas: Schemas, described: Described) -> dict[str, Any]:
    """Return a stream of server-sent events."""
    schema = {"type": "string", "x-event-data": schemas.message(described.message("WatchTriggersResponse"))}
    return {
        "200": {
            "description": "Server-sent events; the data of each is a WatchTriggersResponse.",
            "headers": headers("cache-control"),
            "content": {EVENT_STREAM: {"schema": schema, "example": EVENTS}},
        }
    }


def _found(kind: str) -> dict[str, Any]:
    content = {JSON: {"type": "object"}, "text/html": {"type": "string"}}
    body = {"content": {kind: {"schema": content[kind]}}} if kind else {}
    return {"description": "Yes." if not kind else "Here it is.", "headers": headers(), **body}


def _tags(described: Described) -> list[dict[str, str]]:
    services = [{"name": one.name, "description": described.comment(one)} for one in described.services]
    return [
        *services,
        {"name": OPERATIONS, "description": "For load balancers and people; no key is needed."},
    ]
