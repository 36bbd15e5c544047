"""The error reasons of error_reason.proto: what happened, what to do, who gets them, and an example."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from google.rpc import code_pb2

from clarion.v1 import options_pb2

from .described import Binding, Described, bindings, sentence

__all__ = [
    "CALL",
    "OF_ADMIN",
    "OF_CLIENT",
    "REQUEST",
    "ROUTE",
    "Reason",
    "own_scope",
    "phrase",
    "problems",
    "reasons",
    "reasons_in",
    "reasons_of",
    "violation_reasons",
]

ANSWER: Any = options_pb2.answer
Scope = options_pb2.MetBy.Scope
OF_CLIENT = Scope.SCOPE_EVERY_CLIENT_CALL
REQUEST, CALL = Scope.SCOPE_EVERY_REQUEST, Scope.SCOPE_EVERY_CALL
ROUTE = Scope.SCOPE_UNKNOWN_ROUTES
OF_ADMIN = Scope.SCOPE_EVERY_ADMIN_CALL
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
        LookupError: The documentation of a reason is incomplete, or names an unknown call.
    """
    values = [value for value in described.enum("ErrorReason").values if value.number]
    methods = {
        method.name
        for file in described.files
        for service in file.services_by_name.values()
        for method in service.methods
    }
    found = [_reason(described, value) for value in values]
    for reason in found:
        if wrong := problems(reason, methods):
            raise LookupError(f"{reason.name} in error_reason.proto: {'; '.join(wrong)}")
    return {reason.name: reason for reason in found}


def problems(reason: Reason, methods: Collection[str]) -> list[str]:
    """Return what is missing or wrong in the documentation of a reason.

    Args:
        reason: The reason.
        methods: The names of all methods.
    """
    answer = reason.answer
    present = {
        "code": answer.code,
        "retry": answer.retry,
        "example": answer.example.message,
        "met_by": answer.HasField("met_by") or not answer.http_statuses,
        "a second sentence in its comment that states what to do": reason.to_do,
    }
    unknown = sorted(set(answer.met_by.methods) - set(methods))
    return [
        *(f"needs {part}" for part, found in present.items() if not found),
        *(f"met_by names the unknown method {name}" for name in unknown),
    ]


def reasons_of(described: Described, binding: Binding) -> list[str]:
    """Return the names of the reasons that a REST call can fail with."""
    own = own_scope(described)
    return [reason.name for reason in reasons(described).values() if _meets(binding, reason, own)]


def reasons_in(described: Described) -> dict[str, Reason]:
    """Return the reasons that REST callers of this API can get."""
    own, calls = own_scope(described), list(bindings(described))
    return {
        name: reason
        for name, reason in reasons(described).items()
        if reason.is_met_by((ROUTE,))
        or any(_meets(call, reason, own) for call in calls)
        or (reason.answer.met_by.paths and not described.is_admin)
    }


def own_scope(described: Described) -> int:
    """Return the scope of all calls of this API."""
    return OF_ADMIN if described.is_admin else OF_CLIENT


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
    retry = described.comment(described.enum("Retry").values_by_number[answer.retry])
    return Reason(value.name.removeprefix("ERROR_REASON_"), happened, to_do, retry, answer)


def _meets(binding: Binding, reason: Reason, own: int) -> bool:
    """Return whether a call can fail for a reason; `own` is the scope of all calls of its API."""
    met_by = reason.answer.met_by
    return (
        reason.is_met_by((REQUEST, CALL, own))
        or (bool(binding.body) and reason.is_met_by((Scope.SCOPE_CALLS_WITH_BODY,)))
        or not set(binding.variables).isdisjoint(met_by.path_variables)
        or binding.method.name in met_by.methods
    )
