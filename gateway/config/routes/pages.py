"""The routes of paths that the gateway itself serves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from ..documents import Document
from ..filters import HEALTH_PATH, READY_PATH
from ..per_route import for_document, for_readiness
from ..replies import NOT_ALLOWED, NOT_READY, direct_response, header
from .matching import method_of
from .tree import Branch

__all__ = ["document_branches", "health_branches", "page"]

Config = dict[str, Any]

READING = ("GET", "HEAD")


def health_branches() -> Iterator[Branch]:
    """Yield the paths by which load balancers check the gateway."""
    alive = {"direct_response": {"status": int(HTTPStatus.OK)}}
    # The health filter answers first.
    ready = {**direct_response(NOT_READY), "typed_per_filter_config": for_readiness()}
    for path, answer in ((HEALTH_PATH, alive), (READY_PATH, ready)):
        yield Branch(path, list(page(path, answer)))


def document_branches(documents: Iterable[Document]) -> Iterator[Branch]:
    """Yield the paths of documents."""
    for one in documents:
        yield Branch(one.path, list(page(one.path, _file(one))))


def page(path: str, answer: Config) -> Iterator[Config]:
    """Yield the routes of a read-only path that the gateway itself serves."""
    allow = replace(NOT_ALLOWED, headers={"allow": ", ".join(READING)})
    yield {"match": {"path": path, "headers": [method_of(READING)]}, **answer}
    yield {"match": {"path": path}, **direct_response(allow)}


def _file(document: Document) -> Config:
    return {
        "direct_response": {"status": int(HTTPStatus.OK), "body": {"filename": str(document.file)}},
        "response_headers_to_add": [header(*one) for one in document.headers.items()],
        "typed_per_filter_config": for_document(),
    }
