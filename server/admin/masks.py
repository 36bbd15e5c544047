"""Update masks: the fields that an update changes (https://google.aip.dev/134)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ..errors import InvalidRequest, Violation

__all__ = ["fields_to_change"]


def fields_to_change(request: Any, changeable: Collection[str]) -> set[str]:
    """Return the fields that the update mask of a request lists or, without a mask, those that are present.

    Args:
        request: A request with an `update_mask`.
        changeable: The fields that can be changed.

    Raises:
        InvalidRequest: The mask lists another field.
    """
    fields = set(request.update_mask.paths)
    if not fields:
        return {field.name for field, _ in request.ListFields()} & set(changeable)
    unknown = fields - set(changeable)
    if unknown:
        description = f"may list {', '.join(changeable)}; found {', '.join(sorted(unknown))}"
        raise InvalidRequest([Violation("update_mask", description, "UNKNOWN_VALUE")])
    return fields
