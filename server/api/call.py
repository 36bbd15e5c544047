"""The context of one call, which the guard passes to the method that serves it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping

import msgspec

from ..domain.key import ApiKey
from ..domain.ports import Catalog
from ..domain.trace import trace_context
from ..intake.caller import Caller
from ..intake.idempotency_key import HEADER

__all__ = ["LAST_EVENT_ID", "READ_HEADERS", "Call"]

LAST_EVENT_ID = "last-event-id"
"""The header in which a reader of server-sent events sends the last cursor that it has."""
READ_HEADERS = frozenset({"authorization", "traceparent", HEADER, LAST_EVENT_ID})
"""The headers, or gRPC metadata, that calls are served by."""


class Call(msgspec.Struct, frozen=True, gc=False):
    """A call with a valid API key."""

    key: ApiKey
    headers: Mapping[str, str]
    """Those of READ_HEADERS that were sent."""
    require_working_key: Callable[[], object]
    """Raises CredentialsInvalid if the key was revoked or has expired since the call began."""

    @property
    def project_id(self) -> int:
        """The project of the key."""
        return self.key.project_id

    @property
    def idempotency_key(self) -> str | None:
        """The header `idempotency-key`, if it was sent."""
        return self.headers.get(HEADER)

    @property
    def last_event_id(self) -> str:
        """The cursor in the header `last-event-id`, or an empty string."""
        return self.headers.get(LAST_EVENT_ID, "")

    def caller(self, catalog: Catalog) -> Caller:
        """Return who triggers by this call, and when."""
        traceparent = self.headers.get("traceparent")
        context = trace_context(traceparent) if traceparent else ""
        return Caller(catalog, self.key, context, dt.datetime.now(dt.UTC))
