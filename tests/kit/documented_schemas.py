"""The schemas of the OpenAPI document, to check JSON that Clarion sends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.protocols import Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

__all__ = ["DOCUMENT", "check_webhook", "validator"]

FILE = Path(__file__).parents[2] / "protos/clarion/v1/openapi.json"
DOCUMENT: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
REGISTRY: Registry[Any] = Registry().with_resource("urn:clarion", DRAFT202012.create_resource(DOCUMENT))


def validator(schema: Mapping[str, Any]) -> Validator:
    """Return a validator that resolves references in the document."""
    absolute = json.loads(json.dumps(schema).replace('"#/', '"urn:clarion#/'))
    return Draft202012Validator(absolute, registry=REGISTRY, format_checker=FormatChecker())


def check_webhook(event: Mapping[str, Any]) -> None:
    """Check the body of a webhook against the schema of its type, and that it has no other members."""
    operation = DOCUMENT["webhooks"][event["type"]]["post"]
    name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    schemas = DOCUMENT["components"]["schemas"]
    validator(schemas[name]).validate(event)
    data = schemas[name]["properties"]["data"]
    data = schemas[data["$ref"].rpartition("/")[2]] if "$ref" in data else data
    assert (set(event), set(event["data"])) == (set(schemas[name]["properties"]), set(data["properties"]))
