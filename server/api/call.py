"""The context of one call, which the guard passes to the method that serves it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping

import msgspec

from ..domain.certificate import HEADER as CERTIFICATE
from ..domain.delivery import Delivery
from ..domain.key import ApiKey
from ..domain.ports import Catalog
from ..domain.trace import trace_context
from ..intake.caller import Caller
from ..intake.idempotency_key import HEADER
from ..intake.rest_message import QUERY

__all__ = ["CALLER", "CERTIFICATE", "LAST_EVENT_ID", "READ_HEADERS", "TRACEPARENT", "Call"]

CALLER = "x-clarion-caller"
"""The header with the caller's address, for the log. The gateway sets it, except for triggers with a key that
it has recently seen accepted: those are not logged, and each header costs a server CPU time."""
TRACEPARENT = "traceparent"
"""The header with the W3C trace context. If the call is recorded, the guard replaces it by its own span's."""
LAST_EVENT_ID = "last-event-id"
"""The header with which a client resumes a stream of server-sent events: the cursor of the last event."""
READ_HEADERS = frozenset({"authorization", TRACEPARENT, HEADER, LAST_EVENT_ID, CALLER, QUERY})
"""The only request headers (gRPC metadata) that Clarion reads."""


class Call(msgspec.Struct, frozen=True, gc=False):
    """A call with a valid API key."""

    key: ApiKey
    headers: Mapping[str, str]
    """The headers in READ_HEADERS that the request has."""
    require_working_key: Callable[[], object]
    """Raises CredentialsInvalid if the key was revoked or has expired since the call began."""

    @property
    def project_id(self) -> int:
        """The project of the key."""
        return self.key.project_id

    @property
    def tests_only(self) -> bool | None:
        """Whether the caller sees only tests; None if it sees all triggers of its project."""
        return self.key.test or None

    def sees(self, delivery: Delivery) -> bool:
        """Return whether the caller may read and cancel a trigger of its project: a test key only tests."""
        return delivery.test or not self.key.test

    @property
    def idempotency_key(self) -> str | None:
        """The value of the header `idempotency-key`, if the request has it."""
        return self.headers.get(HEADER)

    @property
    def last_event_id(self) -> str:
        """The cursor in the header `last-event-id`, or an empty string."""
        return self.headers.get(LAST_EVENT_ID, "")

    def caller(self, catalog: Catalog) -> Caller:
        """Return what validation needs to know about this call. Its time is now."""
        traceparent = self.headers.get(TRACEPARENT)
        context = trace_context(traceparent) if traceparent else ""
        return Caller(catalog, self.key, context, dt.datetime.now(dt.UTC))
