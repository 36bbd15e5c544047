"""The JSON body of the REST trigger call.

In the proto it is a `google.api.HttpBody`, so that it reaches the server unchanged. The server builds the
typed request of the campaign's channel from it, so fields and rules are taken from the typed requests. There
are three differences: fields in the path or a header are missing, JSON text is an object, and the address may
be that of any channel.
"""

from __future__ import annotations

from google.protobuf.descriptor import FieldDescriptor, ServiceDescriptor

from .described import Described, holds_json
from .rules import rules_of
from .schemas import Schema, Schemas, ref

__all__ = ["BODY", "USER", "add_batch_body", "add_trigger_body"]

BODY, USER = "TriggerBody", "TriggerUser"
BATCH, ITEM = "BatchBody", "BatchItem"
NOT_IN_BODY = ("campaign_id", "request_id")
"""Fields of the typed requests that are in the path and in a header over REST."""
# The server accepts internationalised addresses.
FORMATS = {"email": "idn-email"}
ABOUT_BODY = (
    "The recipient of a campaign's message, and the event for its templates. JSON in UTF-8, at most 64 KiB, "
    "parsed strictly: duplicate names, NaN, `\\u0000` and lone surrogates are rejected. A comma before a "
    "closing bracket is ignored."
)
ABOUT_BATCH = (
    "Triggers of any campaigns: 1 to 1,000, at most 2 MiB, parsed as strictly as the body of a single call."
)
ABOUT_ITEM = (
    "The body of a single call, with the ID of its campaign and, instead of the header `Idempotency-Key`, a "
    "`request_id`."
)
ABOUT_USER = (
    "The recipient. The address for the campaign's channel is required; addresses for other channels are "
    "allowed and ignored."
)


def add_trigger_body(schemas: Schemas, described: Described, service: ServiceDescriptor) -> Schema:
    """Add the body's schemas to the components; return a reference to the body."""
    requests = [m.input_type for m in service.methods if "user" in m.input_type.fields_by_name]
    users = [user for request in requests if (user := request.fields_by_name["user"].message_type)]
    names = [field.name for user in users for field in user.fields]
    fields = {field.name: field for user in reversed(users) for field in user.fields}
    # In the order of the first request, the addresses side by side.
    ordered = sorted(fields, key=names.index)
    shared = [name for name in ordered if names.count(name) == len(users)]
    addresses = [name for name in ordered if name not in shared]
    properties = {name: _member(schemas, fields[name]) for name in (shared[0], *addresses, *shared[1:])}
    for name in addresses:
        properties[name] = {"type": "string", "description": described.comment(fields[name])}
    schemas.components[USER] = {
        **_object(ABOUT_USER, properties),
        "required": [name for name in shared if rules_of(fields[name]).required],
        **_one_of([_reached_by(schemas, fields[name]) for name in addresses]),
    }
    carried = [field for field in requests[0].fields if field.name not in NOT_IN_BODY]
    body = {one.name: ref(USER) if one.name == "user" else _member(schemas, one) for one in carried}
    required = [one.name for one in carried if rules_of(one).required]
    schemas.components[BODY] = {**_object(ABOUT_BODY, body), "required": required}
    return ref(BODY)


def add_batch_body(schemas: Schemas, described: Described) -> Schema:
    """Add the schemas of a batch to the components, after `add_trigger_body`; return a reference."""
    fields = described.message("TriggerEmailRequest").fields_by_name
    campaign_id: Schema = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}
    campaign_id["description"] = "The campaign ID."
    properties = {
        "campaign_id": campaign_id,
        **schemas.components[BODY]["properties"],
        "request_id": schemas.field(fields["request_id"]),
    }
    item = _object(ABOUT_ITEM, properties)
    schemas.components[ITEM] = {**item, "required": ["campaign_id", "user"]}
    limits = rules_of(described.message("BatchTriggerRequest").fields_by_name["triggers"]).keywords
    triggers = {"type": "array", "items": ref(ITEM), **limits, "description": "The triggers."}
    schemas.components[BATCH] = {**_object(ABOUT_BATCH, {"triggers": triggers}), "required": ["triggers"]}
    return ref(BATCH)


def _object(description: str, properties: dict[str, Schema]) -> Schema:
    closed = {"type": "object", "additionalProperties": False}
    return {**closed, "description": description, "properties": properties}


def _member(schemas: Schemas, field: FieldDescriptor) -> Schema:
    """Return a field's schema; of JSON text, that of the object, with the comment's first paragraph."""
    schema = schemas.field(field)
    if not holds_json(field):
        return schema
    about = schema["description"].partition("\n\n")[0]
    return {"type": "object", "additionalProperties": True, "description": about}


def _one_of(conditions: list[Schema]) -> Schema:
    """Return the rule that one of the conditions is met.

    It is not simply `anyOf`, from which generators of clients make a union of types that lack the members.
    """
    return {"if": {"anyOf": conditions}, "else": {"not": {}}}


def _reached_by(schemas: Schemas, field: FieldDescriptor) -> Schema:
    """Return the condition that a user has a good address of one channel."""
    address = {name: one for name, one in schemas.field(field).items() if name not in {"type", "description"}}
    if field.name in FORMATS:
        address["format"] = FORMATS[field.name]
    return {"title": f"With {field.name}", "required": [field.name], "properties": {field.name: address}}
