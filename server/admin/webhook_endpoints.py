"""Finds the endpoint that a call of the admin API names, and checks what the call needs of it."""

from __future__ import annotations

import uuid

from ..domain.webhook import Endpoint, EndpointState
from ..errors import EndpointNotFound
from ..store.admin import endpoints as store
from ..store.pool import Connection, Pool
from .call import AdminCall
from .errors import WrongState

__all__ = ["find_endpoint", "require_active"]


async def find_endpoint(database: Pool | Connection, call: AdminCall, endpoint_id: uuid.UUID) -> Endpoint:
    """Return an endpoint for whose project the caller has the role.

    Raises:
        EndpointNotFound: The endpoint does not exist, or the caller may not see it.
        RoleMissing: The caller lacks the role.
    """
    endpoint = await store.find_endpoint(database, endpoint_id)
    if not call.may_see(endpoint.project_id):
        raise EndpointNotFound.of(endpoint_id)
    call.require(endpoint.project_id, endpoint.project)
    return endpoint


def require_active(endpoint: Endpoint) -> None:
    """Check that messages are sent to an endpoint.

    Raises:
        WrongState: It is disabled.
    """
    if endpoint.state is EndpointState.DISABLED:
        raise WrongState(
            f"Endpoint {endpoint.id} is disabled ({endpoint.disabled_because}); enable it first."
        )
