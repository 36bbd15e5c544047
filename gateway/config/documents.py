"""The descriptions of the API that the gateway itself serves."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from .contract import built
from .replies import JSON

__all__ = ["DOCS_PATH", "Document", "all_documents"]

DOCS_PATH = "/docs"
HTML = "text/html; charset=utf-8"
READ_ANEW = {"cache-control": "no-cache", "x-content-type-options": "nosniff"}
SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Document:
    """A file that the gateway serves to every caller, with or without a key."""

    path: str
    file: Path
    headers: dict[str, str]


def all_documents() -> list[Document]:
    """Return the descriptions of the interface.

    Raises:
        GatewayError: A file is missing.
    """
    pages = {DOCS_PATH: built("docs.html"), f"{DOCS_PATH}/admin": built("admin-docs.html")}
    files = {"/openapi.json": built("openapi.json"), "/openapi/admin.json": built("admin-openapi.json")}
    return [
        *(Document(path, file, {"content-type": JSON, **READ_ANEW}) for path, file in files.items()),
        *(
            Document(path, page, {"content-type": HTML, **READ_ANEW, **_policy(page)})
            for path, page in pages.items()
        ),
    ]


def _policy(page: Path) -> dict[str, str]:
    """Return the header by which a browser loads nothing and runs only the page's own scripts."""
    digests = (hashlib.sha256(script).digest() for script in SCRIPT.findall(page.read_bytes()))
    scripts = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src {scripts}"
    return {"content-security-policy": policy}
