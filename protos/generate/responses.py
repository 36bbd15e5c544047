"""Error responses in OpenAPI: the reasons for which a call can fail, and their bodies."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from .described import Described
from .examples import error_body
from .reasons import CALL, OF_ADMIN, REQUEST, ROUTE, Reason, own_scope, phrase, reasons_in, violation_reasons
from .schemas import Schema, ref

__all__ = ["Responses", "header_components", "headers"]

RPC = "type.googleapis.com/google.rpc"
HEADERS = {
    "x-request-id": "The call's ID in the logs: the caller's, or a new one. Absent if HTTP is malformed.",
    "idempotency-replayed": "`true`: this is the response to an earlier call with the same idempotency key.",
    "cache-control": "`no-cache`: each call has its own stream.",
    "location": "The path of the trigger's state: `/api/client/triggers/` and its ID.",
    "www-authenticate": "How to authenticate: `Bearer`.",
    "retry-after": "Seconds to wait before the same call can succeed.",
    "RateLimit": 'The limits that are exhausted, and in how many seconds that changes: `"key";r=0;t=1`.',
    "RateLimit-Policy": "The limits, each with its burst (q) and the seconds until it is replenished (w): "
    '`"key";q=100;w=2`. As in draft-ietf-httpapi-ratelimit-headers.',
}
HEADERS_OF = {
    401: ("www-authenticate",),
    429: ("retry-after",),
    503: ("retry-after",),
}
HEADERS_OF_LIMITS = ("RateLimit", "RateLimit-Policy")
"""Sent with 429 to callers with an API key, which has the limits. Admin keys have none."""


class Responses:
    """The error responses of one document."""

    def __init__(self, described: Described) -> None:
        """Read the reasons from the descriptors."""
        self.reasons: Mapping[str, Reason] = reasons_in(described)
        self._violations = violation_reasons(described)
        self._is_admin = own_scope(described) == OF_ADMIN
        self._common = _by_status(self._met_by(REQUEST, CALL, own_scope(described)))
        self.components = {_key(status): self._response(status, met) for status, met in self._common.items()}

    def of_call(self, names: list[str]) -> dict[str, Any]:
        """Return the `responses` of an operation that can fail for these reasons."""
        return self._of([reason for reason in self.reasons.values() if reason.name in names])

    def of_endpoint(self, path: str) -> dict[str, Any]:
        """Return the `responses` of one of the gateway's own endpoints."""
        met = [one for one in self.reasons.values() if path in one.answer.met_by.paths]
        return self._of([*self._met_by(REQUEST), *met])

    def examples(self) -> dict[str, Any]:
        """Return an example for each reason that a call can get, for `components/examples`."""
        unrouted = self._met_by(ROUTE)
        met = [one for one in self.reasons.values() if one.statuses and one not in unrouted]
        return {one.name: {"summary": one.happened, "value": error_body(one)} for one in met}

    def schemas(self) -> dict[str, Schema]:
        """Return the schemas of error bodies."""
        return {
            "Status": self._status(),
            "ErrorInfo": _error_info(),
            "BadRequest": _bad_request(),
            "FieldViolation": _field_violation(),
            "RetryInfo": _retry_info(),
            "ErrorReason": _names(
                "Why a call failed. Stable: programs may depend on it.",
                {one.name: one.happened for one in self.reasons.values() if one.statuses},
            ),
            "ViolationReason": _names(
                "Why a field is invalid. Stable: programs may depend on it.", self._violations
            ),
        }

    def _status(self) -> Schema:
        """Return the body of errors. OpenAPI has no other place for paths and methods that do not exist."""
        unrouted = [error_body(reason) for reason in self._met_by(ROUTE)]
        return {**_status(), "examples": unrouted}

    def _met_by(self, *scopes: int) -> list[Reason]:
        return [reason for reason in self.reasons.values() if reason.is_met_by(scopes)]

    def _of(self, met: list[Reason]) -> dict[str, Any]:
        return {
            str(status): ref(_key(status), "responses")
            if found == self._common.get(status)
            else self._response(status, found)
            for status, found in _by_status(met).items()
        }

    def _response(self, status: int, met: list[Reason]) -> dict[str, Any]:
        lines = [f"- `{one.name}`: {one.happened} {one.to_do}" for one in met]
        examples = {one.name: ref(one.name, "examples") for one in met}
        limits = HEADERS_OF_LIMITS if status == HTTPStatus.TOO_MANY_REQUESTS and not self._is_admin else ()
        return {
            "description": "\n".join([f"{phrase(status)}.", "", *lines]),
            "headers": headers(*HEADERS_OF.get(status, ()), *limits),
            "content": {"application/json": {"schema": ref("Status"), "examples": examples}},
        }


def headers(*names: str) -> dict[str, Any]:
    """Return references to these headers and x-request-id, which nearly every response has."""
    return {name: ref(name, "headers") for name in ("x-request-id", *names)}


def header_components(*names: str) -> dict[str, Any]:
    """Return x-request-id and these headers for `components/headers`; without names, all headers."""
    shown = ("x-request-id", *names) if names else tuple(HEADERS)
    return {name: {"description": HEADERS[name], "schema": _type_of(name)} for name in shown}


def _type_of(header: str) -> Schema:
    return {"type": "integer", "minimum": 1} if header == "retry-after" else {"type": "string"}


def _by_status(met: list[Reason]) -> dict[int, list[Reason]]:
    """Group reasons by their HTTP statuses."""
    statuses = sorted({status for reason in met for status in reason.statuses})
    return {status: [one for one in met if status in one.statuses] for status in statuses}


def _key(status: int) -> str:
    """Return the name of a common response, such as `NotFound`."""
    return phrase(status).replace(" ", "")


def _names(description: str, meanings: Mapping[str, str]) -> Schema:
    lines = [f"- `{name}`: {meaning}" for name, meaning in meanings.items()]
    return {"type": "string", "description": "\n".join([description, "", *lines]), "enum": list(meanings)}


def _status() -> Schema:
    kinds = ("ErrorInfo", "BadRequest", "RetryInfo")
    mapping = {f"{RPC}.{kind}": ref(kind)["$ref"] for kind in kinds}
    details = {
        "type": "array",
        "description": "Always one ErrorInfo; one BadRequest if fields are invalid; one RetryInfo if the "
        "server knows how long to wait.",
        "items": {
            "oneOf": [ref(kind) for kind in kinds],
            "discriminator": {"propertyName": "@type", "mapping": mapping},
        },
        "contains": ref("ErrorInfo"),
        "minContains": 1,
        "maxContains": 1,
    }
    code = {"type": "integer", "description": "The number of the gRPC status.", "minimum": 1, "maximum": 16}
    message = {"type": "string", "description": "For people; may change.", "minLength": 1}
    members = {"code": code, "message": message, "details": details}
    return _object("A `google.rpc.Status`: the body of every error.", members, list(members))


def _error_info() -> Schema:
    metadata = {"type": "object", "additionalProperties": {"type": "string"}}
    members = {
        "reason": ref("ErrorReason"),
        "domain": {"const": "clarion", "description": "The namespace of the reason."},
        "metadata": {**metadata, "description": "Facts, such as the ID that was not found."},
    }
    return _detail("ErrorInfo", "Why the call failed.", members, ["reason", "domain"])


def _bad_request() -> Schema:
    violations = {"type": "array", "items": ref("FieldViolation"), "minItems": 1}
    members: dict[str, Schema] = {"field_violations": {**violations, "description": "All violations."}}
    return _detail("BadRequest", "Why the request is invalid.", members, [*members])


def _field_violation() -> Schema:
    path = "The field's path as the caller wrote it, such as `user.email`; absent for the whole body."
    members: dict[str, Schema] = {
        "field": {"type": "string", "description": path},
        "description": {"type": "string", "description": "What is wrong, for people.", "minLength": 1},
        "reason": ref("ViolationReason"),
    }
    return _object("An invalid field.", members, ["description", "reason"])


def _retry_info() -> Schema:
    delay: Schema = {
        "type": "string",
        "pattern": r"^[0-9]+(\.[0-9]{1,9})?s$",
        "description": "Seconds to wait.",
    }
    return _detail("RetryInfo", "When to retry the call.", {"retry_delay": delay}, ["retry_delay"])


def _detail(kind: str, description: str, members: dict[str, Schema], required: list[str]) -> Schema:
    tag = {"@type": {"const": f"{RPC}.{kind}", "description": "The kind of detail."}}
    return _object(description, {**tag, **members}, ["@type", *required])


def _object(description: str, members: dict[str, Schema], required: list[str]) -> Schema:
    return {"type": "object", "description": description, "properties": members, "required": required}
