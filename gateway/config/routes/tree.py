"""The tree in which Envoy finds the few routes that a call may have.

In a list, it would try one route after the other. There are hundreds, and for a call to a late one that took
more CPU time than everything else that Envoy does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..replies import NO_SUCH_PATH, direct_response

__all__ = ["Branch", "tree"]

Config = dict[str, Any]

HEADER = "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput"
ROUTES = "type.googleapis.com/envoy.config.route.v3.RouteList"
RPC_TYPES = (
    {"exact": "application/grpc"},
    {"prefix": "application/grpc+"},
    {"prefix": "application/grpc-web"},
)
"""The content types of gRPC, as Envoy's matcher `grpc` defines them, and of gRPC-Web."""


@dataclass(frozen=True, slots=True)
class Branch:
    """Routes whose paths have the same beginning."""

    beginning: str
    routes: list[Config]


def tree(rpc: list[Config], branches: Iterable[Branch], others: list[Config]) -> Config:
    """Return a matcher: by content type, then by the beginning of the path.

    Args:
        rpc: The routes of gRPC and gRPC-Web, which must match every call with their content types.
        branches: The routes of all other calls. If several match a call, the first applies.
        others: The routes of paths that have none of these beginnings.
    """
    content_type = _header("content-type")
    predicates = [{"single_predicate": {"input": content_type, "value_match": one}} for one in RPC_TYPES]
    is_rpc = {"predicate": {"or_matcher": {"predicate": predicates}}, "on_match": _routes(rpc)}
    by_path = {one.beginning: _with_rest(one.routes) for one in _disjoint(list(branches))}
    paths = {"input": _header(":path"), "prefix_match_map": {"map": by_path}}
    return {
        "matcher_list": {"matchers": [is_rpc]},
        "on_no_match": {"matcher": {"matcher_tree": paths, "on_no_match": _with_rest(others)}},
    }


def _disjoint(branches: Sequence[Branch]) -> list[Branch]:
    """Join branches that begin alike, so that one branch has all routes of a path."""
    shortest: list[str] = []
    for beginning in sorted(branch.beginning for branch in branches):
        if not (shortest and beginning.startswith(shortest[-1])):
            shortest.append(beginning)
    return [
        Branch(start, [route for one in branches if one.beginning.startswith(start) for route in one.routes])
        for start in shortest
    ]


def _with_rest(routes: list[Config]) -> Config:
    """Return an action that answers 404 where no route matches."""
    return _routes([*routes, {"match": {"prefix": "/"}, **direct_response(NO_SUCH_PATH)}])


def _routes(routes: list[Config]) -> Config:
    return {"action": {"name": "routes", "typed_config": {"@type": ROUTES, "routes": routes}}}


def _header(name: str) -> Config:
    return {"name": name, "typed_config": {"@type": HEADER, "header_name": name}}
