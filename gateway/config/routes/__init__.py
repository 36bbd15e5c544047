"""The routes: gRPC passes through, REST is checked and then transcoded, pages are served.

`route_config` assembles them.
"""

from __future__ import annotations

from typing import Any

from ...settings import GatewaySettings
from ..contract import Contract
from ..documents import DOCS_PATH, all_documents
from ..portal import portal_routes
from .pages import document_branches, health_branches, page
from .rest import rest_branches
from .rpc import grpc_routes, web_routes
from .tree import Branch, tree

__all__ = ["route_config"]

Config = dict[str, Any]

ENVOYS_OWN_LIMIT = 4096


def route_config(settings: GatewaySettings, contract: Contract) -> Config:
    """Return `route_config`: the routes, and the largest file that they serve."""
    documents = all_documents()
    largest = max(document.file.stat().st_size for document in documents)
    branches = [
        *health_branches(),
        *document_branches(documents),
        *rest_branches(settings, contract),
        Branch(settings.portal_path, list(portal_routes(settings))),
    ]
    home = list(page("/", {"redirect": {"path_redirect": DOCS_PATH, "response_code": "FOUND"}}))
    calls = [*grpc_routes(settings, contract), *web_routes(settings, contract)]
    return {
        "max_direct_response_body_size_bytes": max(ENVOYS_OWN_LIMIT, largest),
        "virtual_hosts": [{"name": "clarion", "domains": ["*"], "matcher": tree(calls, branches, home)}],
    }
