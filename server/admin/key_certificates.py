"""The certificates of API keys: how a request states them, and how they are attached to a key."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import replace

from ..domain.certificate import MAX_IDENTITIES, identity
from ..domain.key import ApiKey
from ..errors import InvalidRequest, Violation
from ..store.admin import keys as store
from ..store.pool import Connection
from .call import AdminCall
from .errors import ResourceExists

__all__ = ["attach", "certificates_in"]


def certificates_in(stated: Iterable[str]) -> tuple[str, ...]:
    """Return the certificates of a request, sorted and without doubles.

    Raises:
        InvalidRequest: One is malformed, or there are too many; every violation is included.
    """
    found, violations = set(), []
    for place, text in enumerate(stated):
        try:
            found.add(identity(text))
        except ValueError as error:
            violations.append(Violation(f"certificates[{place}]", str(error), "INVALID_FORMAT"))
    if len(found) > MAX_IDENTITIES:
        violations.append(
            Violation("certificates", f"may have at most {MAX_IDENTITIES} entries", "OUT_OF_RANGE")
        )
    if violations:
        raise InvalidRequest(violations)
    return tuple(sorted(found))


async def attach(connection: Connection, call: AdminCall, key: ApiKey, wanted: tuple[str, ...]) -> ApiKey:
    """Attach certificates to a key instead of those that it has.

    A certificate belongs to one key of the whole installation. So the caller needs the role for all projects:
    otherwise, someone who may change one project could take over the calls of another one.

    Raises:
        RoleMissing: The caller lacks the role for all projects.
        ResourceExists: A certificate belongs to another key that works.
    """
    if wanted == key.certificates:
        return key
    call.require()
    taken = await store.set_certificates(connection, key.id, wanted)
    if taken:
        raise ResourceExists(_taken(taken))
    return replace(key, certificates=wanted)


def _taken(taken: dict[str, uuid.UUID]) -> str:
    one, key_id = next(iter(taken.items()))
    return f"The certificate {one} belongs to key {key_id}; remove it there first, or revoke that key."
