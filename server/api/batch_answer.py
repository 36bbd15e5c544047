"""The response to a REST batch: a BatchTriggerResponse as JSON.

Envoy could convert the protobuf message, but the conversion would take a tenth of the batch's CPU time.
"""

from __future__ import annotations

import uuid

from google.api import httpbody_pb2
from google.rpc import status_pb2

from .proto_messages import as_json

__all__ = ["JsonOutcomes"]


class JsonOutcomes:
    """Collects outcomes as JSON. Its `add` accepts what `add` of the protobuf field `outcomes` accepts."""

    def __init__(self) -> None:
        self._outcomes: list[str] = []

    def add(
        self,
        *,
        index: int,
        trigger_id: uuid.UUID | str = "",
        replayed: bool = False,
        error: status_pb2.Status | None = None,
    ) -> None:
        """Add the outcome of the item at `index`: either its trigger ID or its error."""
        if error is not None:
            self._outcomes.append(f'{{"index":{index},"error":{as_json(error)}}}')
        elif replayed:
            self._outcomes.append(f'{{"index":{index},"trigger_id":"{trigger_id}","replayed":true}}')
        else:
            self._outcomes.append(f'{{"index":{index},"trigger_id":"{trigger_id}"}}')

    def body(self) -> httpbody_pb2.HttpBody:
        """Return the response body with all outcomes."""
        text = f'{{"outcomes":[{",".join(self._outcomes)}]}}'
        return httpbody_pb2.HttpBody(content_type="application/json", data=text.encode())
