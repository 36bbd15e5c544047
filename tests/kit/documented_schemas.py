"""The OpenAPI documents: their parts, and validators of JSON that Clarion sends."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.protocols import Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

__all__ = ["ADMIN_API", "CLIENT_API", "DOCUMENT", "FILE", "OpenApi", "check_webhook", "validator"]

FOLDER = Path(__file__).parents[2] / "protos/clarion/v1"


class OpenApi:
    """An OpenAPI document.

    Args:
        file: Its name in `protos/clarion/v1`.
    """

    def __init__(self, file: str) -> None:
        self.file = FOLDER / file
        self.document: dict[str, Any] = json.loads(self.file.read_text(encoding="utf-8"))
        self._registry: Registry[Any] = Registry().with_resource(
            "urn:clarion", DRAFT202012.create_resource(self.document)
        )

    @cached_property
    def everything(self) -> dict[str, dict[str, Any]]:
        """Every object of the document by its path, such as `#/components/schemas/Status`."""
        return dict(_walk(self.document))

    @cached_property
    def operations(self) -> dict[str, dict[str, Any]]:
        """The operations by ID, each with its `path` and `verb`."""
        return {
            operation["operationId"]: {**operation, "path": path, "verb": verb}
            for path, verbs in self.document["paths"].items()
            for verb, operation in verbs.items()
        }

    @cached_property
    def references(self) -> set[str]:
        """What the document refers to."""
        return {one["$ref"] for one in self.everything.values() if isinstance(one.get("$ref"), str)}

    @cached_property
    def examples(self) -> dict[str, tuple[dict[str, Any], Any]]:
        """The schema and the value of each example, by path."""
        return dict(self._shown())

    def resolve(self, one: dict[str, Any]) -> dict[str, Any]:
        """Follow a reference."""
        return self.everything[one["$ref"]] if "$ref" in one else one

    def validator(self, schema: Mapping[str, Any]) -> Validator:
        """Return a validator that resolves references in the document."""
        absolute = json.loads(json.dumps(schema).replace('"#/', '"urn:clarion#/'))
        return Draft202012Validator(absolute, registry=self._registry, format_checker=FormatChecker())

    def _shown(self) -> Iterator[tuple[str, tuple[dict[str, Any], Any]]]:
        for path, one in self.everything.items():
            if "schema" not in one:
                continue
            if "example" in one:
                yield path, (one["schema"], one["example"])
            for name, example in one.get("examples", {}).items():
                yield f"{path} {name}", (one["schema"], self.resolve(example)["value"])


def _walk(value: object, path: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object in a JSON value with its path."""
    if isinstance(value, dict):
        yield path, value
        for name, member in value.items():
            if name not in {"example", "value"}:
                yield from _walk(member, f"{path}/{name.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list):
        for number, member in enumerate(value):
            yield from _walk(member, f"{path}/{number}")


CLIENT_API, ADMIN_API = OpenApi("openapi.json"), OpenApi("admin-openapi.json")
DOCUMENT, FILE = CLIENT_API.document, CLIENT_API.file


def validator(schema: Mapping[str, Any]) -> Validator:
    """Return a validator that resolves references in the document of the API for callers."""
    return CLIENT_API.validator(schema)


def check_webhook(event: Mapping[str, Any]) -> None:
    """Check the body of a webhook against the schema of its type, and that it has no other members."""
    operation = DOCUMENT["webhooks"][event["type"]]["post"]
    name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    schemas = DOCUMENT["components"]["schemas"]
    validator(schemas[name]).validate(event)
    data = schemas[name]["properties"]["data"]
    data = schemas[data["$ref"].rpartition("/")[2]] if "$ref" in data else data
    assert (set(event), set(event["data"])) == (set(schemas[name]["properties"]), set(data["properties"]))
