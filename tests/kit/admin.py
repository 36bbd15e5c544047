"""Admin keys for tests, and what answers of the admin API say."""

from __future__ import annotations

import httpx

from clarion.admin.v1 import operator_pb2 as pb
from server.admin.client import AdminClient

__all__ = ["create_admin_key", "reason_of"]


async def create_admin_key(client: AdminClient, role: str, *, project: str = "") -> str:
    """Create an admin key and return its secret."""
    grant = pb.Grant(role=role, project=project)
    request = pb.CreateAdminKeyRequest(display_name=f"a test's {role}", grants=[grant])
    made: pb.CreateAdminKeyResponse = await client.call("admin_keys", "CreateAdminKey", request)
    return made.secret


def reason_of(response: httpx.Response) -> str:
    """Return the reason of an error."""
    reason: str = response.json()["details"][0]["reason"]
    return reason
