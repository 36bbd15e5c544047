"""The errors of the admin API that no other part raises."""

from __future__ import annotations

from ..errors import RequestError, ResourceNotFound

__all__ = [
    "AdminKeyNotFound",
    "DraftNotFound",
    "EtagMismatch",
    "OperationNotFound",
    "ResourceExists",
    "RoleMissing",
    "SessionNotFound",
    "SignInUnavailable",
    "VersionNotFound",
    "WrongState",
]


class AdminKeyNotFound(ResourceNotFound):
    """There is no admin key with this id."""

    thing = "admin key"


class OperationNotFound(ResourceNotFound):
    """There is no operation with this id."""

    thing = "operation"


class SessionNotFound(ResourceNotFound):
    """There is no session with this id, or it has ended."""

    thing = "session"


class DraftNotFound(ResourceNotFound):
    """The campaign has no draft."""

    thing = "draft of campaign"


class VersionNotFound(ResourceNotFound):
    """The campaign has no version with this number."""

    thing = "version"


class RoleMissing(RequestError):
    """The caller lacks the role that this call needs."""

    reason = "ROLE_MISSING"


class EtagMismatch(RequestError):
    """The resource has changed since the caller read it; read it again."""

    reason = "ETAG_MISMATCH"


class ResourceExists(RequestError):
    """There is already a resource with this name."""

    reason = "RESOURCE_EXISTS"


class WrongState(RequestError):
    """The resource's state does not allow this change."""

    reason = "RESOURCE_STATE"


class SignInUnavailable(RequestError):
    """The OpenID provider cannot be used. Try again shortly, or use an admin key."""

    reason = "SIGN_IN_UNAVAILABLE"
    retry_after = 5.0
