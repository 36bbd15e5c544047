"""The JSON Schema of a stream of server-sent events, whose structure OpenAPI 3.1 has no keyword for."""

from __future__ import annotations

from .schemas import Schema

__all__ = ["data_of", "event_stream"]

JSON_TEXT: Schema = {"type": "string", "contentMediaType": "application/json"}


def event_stream(data: Schema) -> Schema:
    """Return the schema of a stream of events, as one string.

    Args:
        data: The schema of the data of each event, which is JSON.
    """
    fields: dict[str, Schema] = {
        "id": {"type": "string", "description": "The cursor, or `end`."},
        "event": {
            "enum": ["heartbeat", "end"],
            "description": "Not in changes. The data of `end`, the last event, is a Status.",
        },
        "data": {**JSON_TEXT, "contentSchema": data, "description": "The change, as JSON."},
    }
    events = {"type": "array", "items": {"type": "object", "properties": fields}}
    return {"type": "string", "contentMediaType": "text/event-stream", "contentSchema": events}


def data_of(schema: Schema) -> Schema:
    """Return the schema of the data of each event, or the schema itself if it is not of a stream."""
    if "contentSchema" not in schema:
        return schema
    data: Schema = schema["contentSchema"]["items"]["properties"]["data"]["contentSchema"]
    return data
