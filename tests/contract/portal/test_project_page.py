"""The page of a project."""

from __future__ import annotations

import uuid

from clarion.admin.v1 import project_pb2 as pb
from server.admin.client import LocalAdmin
from tests.contract.portal.conftest import Visitor


async def test_own_retention_is_shown(admin: Visitor, local: LocalAdmin) -> None:
    name = f"kept-{uuid.uuid4().hex[:8]}"
    await local.call("projects", "CreateProject", pb.CreateProjectRequest(project=name))
    request = pb.UpdateProjectRequest(project=name)
    request.content_retention.add(channel="CHANNEL_EMAIL", days=7)
    request.update_mask.paths.append("content_retention")
    await local.call("projects", "UpdateProject", request)
    page = await admin.get(f"/projects/{name}")
    assert page.status_code == 200, page.text
    assert "Content of email" in page.text
    assert "7 days" in page.text
