"""What requests about API keys state: scopes, expiry, limits and other fields."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from clarion.admin.v1 import api_key_pb2 as pb

from ..domain.key import ApiKey, Scope
from ..domain.limit import OwnLimit
from ..errors import InvalidRequest, Violation
from ..intake.rules import check_rules
from .moments import moment_in

__all__ = ["changed_key", "limit_of", "new_key"]

_TEST = "test"


def new_key(request: pb.CreateApiKeyRequest) -> tuple[list[Scope], dt.datetime | None]:
    """Return the scopes and the expiry of a new key.

    Raises:
        InvalidRequest: Fields are invalid; every violation is included.
    """
    violations = check_rules(request)
    known = {scope.value for scope in Scope}
    description = f"must be one of {', '.join(Scope)}"
    violations += [
        Violation(f"scopes[{place}]", description, "UNKNOWN_VALUE")
        for place, one in enumerate(request.scopes)
        if one not in known
    ]
    if request.kind == _TEST and Scope.KEYS_MANAGE.value in request.scopes:
        description = f"a test key cannot have {Scope.KEYS_MANAGE}, because it could revoke live keys"
        violations.append(Violation("scopes", description, "UNKNOWN_VALUE"))
    if violations:
        raise InvalidRequest(violations)
    scopes = [Scope(one) for one in dict.fromkeys(request.scopes)] or [Scope.TRIGGER]
    return scopes, _expiry(request) if request.HasField("expire_time") else None


def _expiry(request: pb.CreateApiKeyRequest | pb.UpdateApiKeyRequest) -> dt.datetime:
    moment = moment_in(request, "expire_time")
    if moment <= dt.datetime.now(dt.UTC):
        raise InvalidRequest([Violation("expire_time", "must be in the future", "OUT_OF_RANGE")])
    return moment


def limit_of(request: pb.CreateApiKeyRequest | pb.UpdateApiKeyRequest) -> OwnLimit:
    """Return the rate limit that a request states."""
    return OwnLimit(
        request.requests_per_second if request.HasField("requests_per_second") else None,
        request.burst if request.HasField("burst") else None,
    )


def changed_key(key: ApiKey, request: pb.UpdateApiKeyRequest, fields: set[str]) -> ApiKey:
    """Return a key with these fields of a request."""
    limit = limit_of(request)
    rate = limit.rate if "requests_per_second" in fields else key.limit.rate
    burst = limit.burst if "burst" in fields else key.limit.burst
    expires_at = key.expires_at
    if "expire_time" in fields:
        expires_at = _expiry(request) if request.HasField("expire_time") else None
    name = request.display_name if "display_name" in fields else key.name
    return replace(key, name=name, expires_at=expires_at, limit=OwnLimit(rate, burst))
