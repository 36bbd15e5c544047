"""The JSON body of the REST trigger call.

In the proto it is a `google.api.HttpBody`, so that it reaches the server untouched. The server builds a typed
request of the campaign's channel from it, so the typed requests' rules are this body's rules too. What is
said here by hand is only what differs: two objects that travel as text over gRPC, and the choice of address.
"""

from __future__ import annotations

from google.protobuf.descriptor import FieldDescriptor, ServiceDescriptor

from .described import Described
from .rules import rules_of
from .schemas import Schema, Schemas, ref

__all__ = ["BODY", "USER", "add_batch_body", "add_trigger_body"]

BODY, USER = "TriggerBody", "TriggerUser"
BATCH, ITEM = "BatchBody", "BatchItem"
# The server accepts internationalised addresses.
FORMATS = {"email": "idn-email"}
OBJECTS = {
    "data": "Further facts about the user, which templates read as `user.data`.",
    "event": "What happened: templates read it as `event`. It arrives exactly as it was written, numbers of "
    "any size included.",
}
ABOUT_BODY = (
    "Whom to send the campaign to, and what about. JSON in UTF-8, at most 64 KiB, read strictly: duplicate "
    "names, NaN, `\\u0000` and halves of surrogate pairs are refused. A comma before a closing bracket is "
    "forgiven."
)
ABOUT_BATCH = (
    "Triggers of any campaigns: 1 to 1,000 of them, at most 2 MiB together, read as strictly as one alone."
)
ABOUT_ITEM = (
    "The body of a call that triggers one campaign, with the campaign's number and, in place of the header "
    "`Idempotency-Key`, a `request_id`."
)
ABOUT_USER = (
    "The recipient. It needs the address of the campaign's channel; addresses of other channels may stand "
    "beside it and are not looked at."
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
        "anyOf": [_reached_by(schemas, fields[name]) for name in addresses],
    }
    event = _member(schemas, requests[0].fields_by_name["event"])
    send_at = _member(schemas, requests[0].fields_by_name["send_at"])
    body = _object(ABOUT_BODY, {"user": ref(USER), "event": event, "send_at": send_at})
    schemas.components[BODY] = {**body, "required": ["user"]}
    return ref(BODY)


def add_batch_body(schemas: Schemas, described: Described) -> Schema:
    """Add the schemas of a batch to the components, after `add_trigger_body`; return a reference."""
    fields = described.message("TriggerEmailRequest").fields_by_name
    campaign_id: Schema = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}
    campaign_id["description"] = "The campaign's number."
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
    """Return a field's schema; those that hold JSON as text over gRPC are objects here."""
    if field.name not in OBJECTS:
        return schemas.field(field)
    most = rules_of(field).keywords["maxLength"]
    limits = f"At most {most:,} bytes and 32 levels deep."
    return {"type": "object", "description": f"{OBJECTS[field.name]} {limits}"}


def _reached_by(schemas: Schemas, field: FieldDescriptor) -> Schema:
    """Return the condition that a user has a good address of one channel."""
    address = {name: one for name, one in schemas.field(field).items() if name not in {"type", "description"}}
    if field.name in FORMATS:
        address["format"] = FORMATS[field.name]
    return {"title": f"With {field.name}", "required": [field.name], "properties": {field.name: address}}
