"""The OpenAPI document of the REST interface."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor, ServiceDescriptor

from .described import Binding, Described, bindings, example_of, sentence
from .event_stream import event_stream
from .examples import BATCH_BODY, BODIES, EVENTS, RESPONSES, TRIGGER_ID
from .reasons import reasons_of
from .responses import Responses, header_components, headers
from .rules import rules_of
from .schemas import Schemas
from .trigger_body import add_batch_body, add_trigger_body
from .webhooks import TAG, add_webhooks

__all__ = ["LICENCE", "SERVERS", "build", "parameters", "scope_of"]

SCHEME = "api_key"
HTTP_BODY = "google.api.HttpBody"
JSON = "application/json"
EVENT_STREAM = "text/event-stream"
# The server itself checks the first field, by the rule that the proto has on the second.
SAME_RULE = {"clarion.v1.TriggerCampaignRequest.campaign_id": ("GetCampaignRequest", "campaign_id")}
IN_HEADER = {
    "TriggerCampaign": (("Idempotency-Key", "TriggerEmailRequest", "request_id"),),
    "StreamTriggers": (("Last-Event-ID", "WatchTriggersRequest", "cursor"),),
}
"""Method → headers, each with the message and field that it replaces over REST."""
ABOUT_HEADERS = {
    "Idempotency-Key": "A key for this call: 1 to 255 printable ASCII characters without spaces, preferably "
    "a UUID. Repeating a call with the same key within 24 hours returns the first response, and nothing is "
    "sent twice. If the content differs, the call fails with IDEMPOTENCY_KEY_REUSED.",
    "Last-Event-ID": "The ID of the last event received, to continue from there. EventSource sends it "
    "automatically. It takes precedence over `cursor`.",
}
WRITTEN_BY_THE_SERVER = {"BatchTriggerCampaigns": "BatchTriggerResponse"}
"""Methods that return an HttpBody → the message that it holds as JSON."""
ABOUT = """\
Clarion accepts campaign triggers, commits them to disk, and delivers them by email, text message and push.

Every call under `/api` needs an API key: `Authorization: Bearer sk_…`. Every error has the same body, a \
`google.rpc.Status` with one ErrorInfo, whose `reason` is stable. Unknown paths return 404 `PATH_NOT_FOUND`, \
unsupported methods 405 `METHOD_NOT_ALLOWED` with an `Allow` header, and unrecognised methods 400 \
`HTTP_REFUSED`.

Bodies may have up to 64 KiB, those of batches 2 MiB. Requests may have up to 100 headers totalling 12 KiB. \
Calls that take longer than 10 seconds return 504 `TIMED_OUT`. Rate limits are set per key and per project; \
calls over a limit return 429 `RATE_LIMITED`. Each item of a batch counts as a call.

Every call may have an `X-Request-ID` of up to 128 characters (letters, digits and `._~:/+=@-`, first a \
letter or a digit), which is kept, and a W3C `traceparent`, which is returned and passed on."""
SERVERS = [{"url": "/", "description": "The gateway that serves this document"}]
LICENCE = {
    "contact": {"name": "The operators of this gateway"},
    "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
}
"""Members of every document's `info`."""
OPERATIONS = "Operations"
# The gateway's own endpoints: path → operationId, summary, content type of a 200.
ENDPOINTS: dict[str, tuple[str, str, str]] = {
    "/healthz": ("Healthz", "Liveness probe: returns 200 whenever the gateway is up.", ""),
    "/readyz": ("Readyz", "Readiness probe: returns 200 if a server can accept calls.", ""),
    "/openapi.json": ("OpenApi", "Returns this document.", JSON),
    "/docs": ("Docs", "Returns this document as an HTML page.", "text/html"),
    "/openapi/admin.json": ("AdminOpenApi", "Returns the document of the admin API, for operators.", JSON),
    "/docs/admin": ("AdminDocs", "Returns the document of the admin API as an HTML page.", "text/html"),
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
    webhooks = add_webhooks(schemas, described)
    key = {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "sk_ or sk_test_ and a UUID",
        "description": "An API key.",
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Clarion",
            "version": version,
            "description": ABOUT,
            **LICENCE,
        },
        "servers": SERVERS,
        "tags": _tags(described),
        "security": [{SCHEME: []}],
        "paths": paths,
        "webhooks": webhooks,
        "components": {
            "securitySchemes": {SCHEME: key},
            "schemas": {**schemas.components, **responses.schemas()},
            "responses": responses.components,
            "headers": header_components(),
            "examples": responses.examples(),
        },
    }


def scope_of(described: Described, service: ServiceDescriptor) -> str:
    """Return the scope that a service's calls need, which is part of its comment.

    Raises:
        LookupError: The comment does not name a scope.
    """
    _, found, rest = described.comment(service).partition("the scope `")
    if not found:
        raise LookupError(f"{service.full_name}: the comment must name `the scope` of its calls")
    return rest.partition("`")[0]


def _operation(
    described: Described, schemas: Schemas, responses: Responses, binding: Binding
) -> dict[str, Any]:
    """Return the operation for a REST call."""
    summary, more = sentence(described.comment(binding.method))
    scope = scope_of(described, binding.service)
    body = _request_body(described, schemas, binding)
    errors = responses.of_call(reasons_of(described, binding))
    return {
        "operationId": f"{binding.service.name}_{binding.method.name}",
        "tags": [binding.service.name],
        "summary": summary,
        **({"deprecated": True} if binding.method.GetOptions().deprecated else {}),
        "description": f"{more}\n\nNeeds an API key with the scope `{scope}`.".lstrip(),
        "security": [{SCHEME: []}],
        "x-scope": scope,
        "parameters": parameters(described, schemas, binding),
        **({"requestBody": body} if body else {}),
        "responses": {
            **_success(described, schemas, binding),
            **errors,
        },
    }


def _open_operation(name: str, summary: str, found: dict[str, Any]) -> dict[str, Any]:
    """Return an operation that needs no API key."""
    return {
        "operationId": name,
        "tags": [OPERATIONS],
        "summary": summary,
        "description": "Needs no API key.",
        "security": [],
        "responses": found,
    }


def parameters(described: Described, schemas: Schemas, binding: Binding) -> list[dict[str, Any]]:
    """Return the parameters in headers, path and query. Without a body, all other fields are in the query."""
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
    """Return the header that replaces a field over REST."""
    replaced = described.message(message).fields_by_name[field]
    schema = schemas.field(replaced)
    del schema["description"]
    schema = {**schema, "minLength": 1}
    return {
        "name": header,
        "in": "header",
        "required": False,
        "description": ABOUT_HEADERS[header],
        "schema": schema,
        "example": example_of(replaced),
    }


def _parameter(described: Described, schemas: Schemas, field: FieldDescriptor, place: str) -> dict[str, Any]:
    ruled = field
    if field.full_name in SAME_RULE:
        message, name = SAME_RULE[field.full_name]
        ruled = described.message(message).fields_by_name[name]
    schema = schemas.field(ruled)
    description = schema.pop("description")
    if field.enum_type is not None:  # the transcoder also accepts numbers
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


def _success(described: Described, schemas: Schemas, binding: Binding) -> dict[str, Any]:
    """Return the successful response. A trigger ID alone becomes a 204 with a header."""
    message = binding.method.output_type
    if message.fields[0].name == "trigger_id":
        replayed = "replayed" in message.fields_by_name
        confirms = described.comment(message)
        field = schemas.field(message.fields[0])
        header = {"description": field["description"], "required": True}
        uuid = {"schema": {"type": "string", "format": "uuid"}, "example": TRIGGER_ID}
        more = headers("location", "idempotency-replayed") if replayed else headers()
        return {
            "204": {
                "description": f"{confirms} The response has no body.",
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
    """Return the response of a stream of server-sent events."""
    schema = event_stream(schemas.message(described.message("WatchTriggersResponse")))
    return {
        "200": {
            "description": "Server-sent events, each with a WatchTriggersResponse as its data.",
            "headers": headers("cache-control"),
            "content": {EVENT_STREAM: {"schema": schema, "example": EVENTS}},
        },
        "204": {"description": "The stream has finished (`Last-Event-ID: end`).", "headers": headers()},
    }


def _found(kind: str) -> dict[str, Any]:
    content = {JSON: {"type": "object"}, "text/html": {"type": "string"}}
    body = {"content": {kind: {"schema": content[kind]}}} if kind else {}
    return {"description": "Success.", "headers": headers(), **body}


def _tags(described: Described) -> list[dict[str, str]]:
    services = [{"name": one.name, "description": described.comment(one)} for one in described.services]
    return [
        *services,
        {"name": TAG, "description": "Messages that Clarion sends to a project's own URLs, signed."},
        {"name": OPERATIONS, "description": "Health checks and documentation. They need no API key."},
    ]
