"""The descriptions of the API that the gateway itself serves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .contract import built
from .replies import JSON

__all__ = ["DOCS_PATH", "Document", "all_documents"]

DOCS_PATH = "/docs"
HTML = "text/html; charset=utf-8"
READ_ANEW = {"cache-control": "no-cache", "x-content-type-options": "nosniff"}
NOTHING_BUT_TEXT = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}


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
    return [
        Document("/openapi.json", built("openapi.json"), {"content-type": JSON, **READ_ANEW}),
        Document(DOCS_PATH, built("docs.html"), {"content-type": HTML, **READ_ANEW, **NOTHING_BUT_TEXT}),
    ]
