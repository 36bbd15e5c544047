"""The answer to a REST batch: the JSON of a BatchTriggerResponse, written here.

Envoy would write the same from the protobuf message, but takes a tenth of the whole batch's CPU time for it.
"""

from __future__ import annotations

import uuid

from google.api import httpbody_pb2
from google.rpc import status_pb2

from .proto_messages import as_json

__all__ = ["JsonOutcomes"]


class JsonOutcomes:
    """Takes outcomes as the `outcomes` of a BatchTriggerResponse do."""

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
        """Add what became of an item: a trigger's id, or an error."""
        if error is not None:
            self._outcomes.append(f'{{"index":{index},"error":{as_json(error)}}}')
        elif replayed:
            self._outcomes.append(f'{{"index":{index},"trigger_id":"{trigger_id}","replayed":true}}')
        else:
            self._outcomes.append(f'{{"index":{index},"trigger_id":"{trigger_id}"}}')

    def body(self) -> httpbody_pb2.HttpBody:
        """Return the whole answer."""
        text = f'{{"outcomes":[{",".join(self._outcomes)}]}}'
        return httpbody_pb2.HttpBody(content_type="application/json", data=text.encode())
