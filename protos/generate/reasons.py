"""The error reasons of error_reason.proto: what happened, what to do, who gets them, and an example."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from google.rpc import code_pb2

from clarion.v1 import options_pb2

from .described import Binding, Described, sentence

__all__ = ["CALL", "REQUEST", "ROUTE", "Reason", "phrase", "reasons", "reasons_of", "violation_reasons"]

ANSWER: Any = options_pb2.answer
Scope = options_pb2.MetBy.Scope
REQUEST, CALL = Scope.SCOPE_EVERY_REQUEST, Scope.SCOPE_EVERY_CALL
ROUTE = Scope.SCOPE_UNKNOWN_ROUTES
# Names from RFC 9110, section 15.5. Python's http module has them from 3.13 on.
NEWER_PHRASES = {413: "Content Too Large", 422: "Unprocessable Content"}


@dataclass(frozen=True, slots=True)
class Reason:
    """One ErrorReason, named without its prefix."""

    name: str
    happened: str
    to_do: str
    retry: str
    """Whether the same call can be sent again, as a sentence."""
    answer: options_pb2.ErrorAnswer

    @property
    def code(self) -> int:
        """The gRPC status."""
        return self.answer.code

    @property
    def code_name(self) -> str:
        """The name of the gRPC status."""
        return code_pb2.Code.Name(self.answer.code)

    @property
    def statuses(self) -> Sequence[int]:
        """The REST statuses; empty if only gRPC callers can get this error."""
        return tuple(self.answer.http_statuses)

    def is_met_by(self, scopes: Collection[int]) -> bool:
        """Return whether one of these scopes can get this error."""
        return self.answer.met_by.scope in scopes


def reasons(described: Described) -> dict[str, Reason]:
    """Return all error reasons by name, in the order of the proto.

    Raises:
        LookupError: A reason's option `answer` or its comment is incomplete, or names an unknown call.
    """
    values = [value for value in described.enum("ErrorReason").values if value.number]
    found = [_reason(described, value) for value in values]
    methods = {method.name for service in described.services for method in service.methods}
    for reason in found:
        unknown = set(reason.answer.met_by.methods) - methods
        if unknown:
            raise LookupError(f"{reason.name}: met_by lists unknown methods: {', '.join(sorted(unknown))}")
    return {reason.name: reason for reason in found}


def reasons_of(described: Described, binding: Binding) -> list[str]:
    """Return the names of the reasons that a REST call can fail with."""
    return [reason.name for reason in reasons(described).values() if _meets(binding, reason)]


def violation_reasons(described: Described) -> dict[str, str]:
    """Return the meaning of each ViolationReason, by name without its prefix."""
    values = described.enum("ViolationReason").values
    named = {value.name.removeprefix("VIOLATION_REASON_"): value for value in values if value.number}
    return {name: described.comment(value) for name, value in named.items()}


def phrase(status: int) -> str:
    """Return HTTP's name for a status, such as `Not Found`; the same in each version of Python."""
    return NEWER_PHRASES.get(status) or HTTPStatus(status).phrase


def _reason(described: Described, value: Any) -> Reason:
    answer = value.GetOptions().Extensions[ANSWER]
    happened, to_do = sentence(described.comment(value))
    met = answer.HasField("met_by") or not answer.http_statuses
    if not (answer.code and answer.retry and answer.example.message and met and to_do):
        raise LookupError(
            f"{value.name} needs the option (answer) with a code, retry, example and, for REST, met_by; "
            "and a comment whose second sentence states what to do"
        )
    retry = described.enum("Retry").values_by_number[answer.retry]
    name = value.name.removeprefix("ERROR_REASON_")
    return Reason(name, happened, to_do, described.comment(retry), answer)


def _meets(binding: Binding, reason: Reason) -> bool:
    met_by = reason.answer.met_by
    return (
        reason.is_met_by((REQUEST, CALL))
        or (bool(binding.body) and reason.is_met_by((Scope.SCOPE_CALLS_WITH_BODY,)))
        or not set(binding.variables).isdisjoint(met_by.path_variables)
        or binding.method.name in met_by.methods
    )
