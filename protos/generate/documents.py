"""All generated documents, by path."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from . import (
    admin_openapi,
    admin_page,
    errors_page,
    grpc_page,
    members_table,
    openapi,
    page,
    roles_page,
)
from .described import ADMIN, load

__all__ = ["ROOT", "documents"]

ROOT = Path(__file__).parents[2]


def documents() -> dict[str, str]:
    """Return the text of each document by its path in the repository."""
    described, admin = load(), load(ADMIN)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    document = openapi.build(described, version)
    of_admin = admin_openapi.build(admin, version)
    by_hand = (ROOT / members_table.PAGE).read_text(encoding="utf-8")
    return {
        "docs/reference/admin-api.md": admin_page.render(admin),
        "docs/reference/errors.md": errors_page.render(described),
        "docs/reference/grpc.md": grpc_page.render(described),
        "docs/reference/roles.md": roles_page.render(described),
        members_table.PAGE: members_table.with_table(by_hand, document),
        "protos/clarion/v1/docs.html": page.render(document, described),
        "protos/clarion/v1/admin-docs.html": page.render(of_admin, admin),
        "protos/clarion/v1/admin-openapi.json": _json(of_admin),
        "protos/clarion/v1/openapi.json": _json(document),
    }


def _json(document: object) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
