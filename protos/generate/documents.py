"""All generated documents, by path."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from . import errors_page, grpc_page, members_table, openapi, page, roles_page
from .described import load
from .reasons import reasons

__all__ = ["ROOT", "documents"]

ROOT = Path(__file__).parents[2]


def documents() -> dict[str, str]:
    """Return the text of each document by its path in the repository."""
    described = load()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    document = openapi.build(described, version)
    by_hand = (ROOT / members_table.PAGE).read_text(encoding="utf-8")
    return {
        "docs/reference/errors.md": errors_page.render(described),
        "docs/reference/grpc.md": grpc_page.render(described),
        "docs/reference/roles.md": roles_page.render(described),
        members_table.PAGE: members_table.with_table(by_hand, document),
        "protos/clarion/v1/docs.html": page.render(document, reasons(described).values()),
        "protos/clarion/v1/openapi.json": json.dumps(document, indent=1, ensure_ascii=False) + "\n",
    }
